package volfile

import (
	"fmt"
	"strings"
	"syscall"
)

// Override is an option given from outside of the volfile, on a command line or
// by a program: the Value of Key in all volumes whose name or type fits Pattern.
type Override struct {
	Pattern    string // with *, ? and […] as in file names; * fits slashes too
	Key, Value string
}

// ParseOverride reads an argument of --xlator-option such as
// "*-posix.glusterd-uuid=…" or "data-server.listen-port=49152". The name ends
// at the first dot.
func ParseOverride(s string) (Override, error) {
	name, rest, dot := strings.Cut(s, ".")
	key, value, eq := strings.Cut(rest, "=")
	if !dot || !eq || name == "" || key == "" || value == "" {
		return Override{}, fmt.Errorf("translator option %q: write VOLUME.KEY=VALUE, such as *-posix.batch-fsync-delay-usec=0: %w", s, syscall.EINVAL)
	}
	return Override{name, key, value}, nil
}

// Apply sets the option wherever it fits and reports in how many volumes. A
// pattern fits the name of a volume or, as in cluster/*, its type.
func (o Override) Apply(f *File) int {
	n := 0
	for _, v := range f.Volumes {
		if match(o.Pattern, v.Name) || match(o.Pattern, v.Type) {
			v.Set(o.Key, o.Value)
			n++
		}
	}
	return n
}

// Secret reports whether the value of an option must not be shown in logs.
func Secret(key string) bool {
	return key == "password" || strings.HasSuffix(key, ".password")
}

// match is fnmatch(3) without flags but that a backslash is a character like
// others. It takes time proportional to the product of the lengths at worst.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if n := matchOne(pattern[p:], s[i]); n > 0 {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one character and returns how long the part of the pattern
// is that did, 0 if none.
func matchOne(pattern string, c byte) int {
	if pattern == "" {
		return 0
	}
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		if n, ok, valid := matchSet(pattern, c); valid {
			if ok {
				return n
			}
			return 0
		}
	}
	if pattern[0] == c {
		return 1
	}
	return 0
}

// matchSet matches c against a set such as [a-z] or [!x] at the beginning of
// pattern and returns the set's length.
func matchSet(pattern string, c byte) (n int, ok, valid bool) {
	i := 1
	not := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if not {
		i++
	}
	for first := true; i < len(pattern) && (first || pattern[i] != ']'); first = false {
		lo, hi := pattern[i], pattern[i]
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			hi = pattern[i+2]
			i += 2
		}
		if lo <= c && c <= hi {
			ok = true
		}
		i++
	}
	if i >= len(pattern) {
		return 0, false, false
	}
	return i + 1, ok != not, true
}
