package xlator

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// ParseFops reads a list of fops by name, separated by commas or blanks, such as
// "LOOKUP, writev". nil stands for an empty list.
func ParseFops(list string) (map[fop.Op]bool, error) {
	var set map[fop.Op]bool
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		op, ok := opByName(name)
		if !ok {
			return nil, fmt.Errorf("%q is no fop: %w", name, syscall.EINVAL)
		}
		if set == nil {
			set = map[fop.Op]bool{}
		}
		set[op] = true
	}
	return set, nil
}

func opByName(name string) (fop.Op, bool) {
	name = strings.ToUpper(name)
	switch name {
	case "READV":
		name = "READ"
	case "WRITEV":
		name = "WRITE"
	}
	for op := fop.OpNull + 1; op < fop.OpCount; op++ {
		if op.String() == name {
			return op, true
		}
	}
	return 0, false
}
