package races

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/anishathalye/porcupine"
)

// names is how many names a history has.
const names = 4

// Objects of a directory's entries; anything else is the inode number of a file.
const (
	absent    = 0
	directory = 1
)

// entries is the state of the directory that a history works in: what each name
// stands for. Directories in it are empty and have no identity.
type entries [names]uint64

// call is an operation on names, or on a block.
type call struct {
	do   string
	a, b int    // names
	v    uint64 // to write
	real bool   // by GlusterFS's own client
}

// answer is what came back.
type answer struct {
	errno syscall.Errno
	v     uint64 // inode number, or what was read
}

func (c call) String() string {
	n := func(i int) string { return string(rune('a' + i)) }
	switch c.do {
	case "rename", "link":
		return c.do + " " + n(c.a) + " " + n(c.b)
	case "read":
		return "read"
	case "write":
		return fmt.Sprintf("write %d", c.v)
	}
	return c.do + " " + n(c.a)
}

func (a answer) String() string {
	switch {
	case a.errno != 0:
		return a.errno.Error()
	case a.v == absent:
		return "ok"
	case a.v == directory:
		return "ok directory"
	}
	return fmt.Sprintf("ok …%x", a.v&0xffff)
}

// step does c on s and returns the state behind it and the answer. ino is the
// number that a create was told.
func (s entries) step(c call, ino uint64) (entries, answer) {
	fail := func(e syscall.Errno) (entries, answer) { return s, answer{errno: e} }
	a := s[c.a]
	switch c.do {
	case "create": // exclusively
		if a != absent {
			return fail(syscall.EEXIST)
		}
		s[c.a] = ino
		return s, answer{v: ino}
	case "mkdir":
		if a != absent {
			return fail(syscall.EEXIST)
		}
		s[c.a] = directory
		return s, answer{}
	case "stat":
		if a == absent {
			return fail(syscall.ENOENT)
		}
		return s, answer{v: a}
	case "unlink":
		switch a {
		case absent:
			return fail(syscall.ENOENT)
		case directory:
			return fail(syscall.EISDIR)
		}
		s[c.a] = absent
		return s, answer{}
	case "rmdir":
		switch a {
		case absent:
			return fail(syscall.ENOENT)
		case directory:
			s[c.a] = absent
			return s, answer{}
		}
		return fail(syscall.ENOTDIR)
	case "link":
		switch {
		case a == absent:
			return fail(syscall.ENOENT)
		case s[c.b] != absent:
			return fail(syscall.EEXIST)
		case a == directory:
			return fail(syscall.EPERM)
		}
		s[c.b] = a
		return s, answer{}
	case "rename":
		b := s[c.b]
		switch {
		case a == absent:
			return fail(syscall.ENOENT)
		case c.a == c.b, a == b && a != directory: // two names of one file: nothing happens
			return s, answer{}
		case a == directory && b != absent && b != directory:
			return fail(syscall.ENOTDIR)
		case a != directory && b == directory:
			return fail(syscall.EISDIR)
		}
		s[c.a], s[c.b] = absent, a
		return s, answer{}
	}
	panic("no operation " + c.do)
}

func (s entries) String() string {
	var w []string
	for i, v := range s {
		if v != absent {
			w = append(w, fmt.Sprintf("%c:%s", 'a'+i, answer{v: v}))
		}
	}
	return "{" + strings.Join(w, " ") + "}"
}

func describe(in, out any) string { return fmt.Sprintf("%v: %v", in, out) }

// directoryModel is a directory in which operations happen one after another.
var directoryModel = porcupine.Model{
	Init: func() any { return entries{} },
	Step: func(state, in, out any) (bool, any) {
		c, got := in.(call), out.(answer)
		next, want := state.(entries).step(c, got.v)
		if c.real && want.errno == syscall.ENOENT && got == (answer{}) && (c.do == "unlink" || c.do == "rename") {
			return true, state // see the package comment
		}
		if c.real && c.do == "rename" && got.errno == syscall.ENOENT {
			return true, state // as well
		}
		return want == got, next
	},
	Hash: func(state any) uint64 {
		h := uint64(14695981039346656037)
		for _, v := range state.(entries) {
			h = (h ^ v) * 1099511628211
		}
		return h
	},
	DescribeOperation: describe,
	DescribeState:     func(s any) string { return s.(entries).String() },
}

// blockModel is one block that is written and read as a whole.
var blockModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, in, out any) (bool, any) {
		c, got := in.(call), out.(answer)
		if got.errno != 0 {
			return false, state
		}
		if c.do == "write" {
			return true, c.v
		}
		return got.v == state.(uint64), state
	},
	DescribeOperation: describe,
}
