package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// op is one step of a stream. What the fields mean depends on Do.
type op struct {
	Do    string
	Path  string
	To    string // second path, or target of a symbolic link
	H     int    // slot of an open file
	As    uint32 // uid and gid of the caller
	Flags int
	Mode  uint32
	Off   int64
	Len   int64
	UID   int
	GID   int
	Name  string // of an attribute
	Value []byte
	Seed  byte // of the data that is written
}

func (o op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", o.Do)
	if o.H != 0 {
		fmt.Fprintf(&b, " #%d", o.H)
	}
	if o.Path != "" {
		fmt.Fprintf(&b, " %s", short(o.Path))
	}
	if o.To != "" {
		fmt.Fprintf(&b, " -> %s", short(o.To))
	}
	if o.Name != "" {
		fmt.Fprintf(&b, " %s=%.20x(%d)", o.Name, o.Value, len(o.Value))
	}
	if o.Flags != 0 {
		fmt.Fprintf(&b, " flags=%#x", o.Flags)
	}
	if o.Mode != 0 {
		fmt.Fprintf(&b, " mode=%#o", o.Mode)
	}
	if o.Off != 0 || o.Len != 0 {
		fmt.Fprintf(&b, " %d+%d", o.Off, o.Len)
	}
	if o.UID != 0 || o.GID != 0 {
		fmt.Fprintf(&b, " owner=%d:%d", o.UID, o.GID)
	}
	if o.As != 0 {
		fmt.Fprintf(&b, " as %d", o.As)
	}
	return b.String()
}

func short(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%s…(%d)", s[:20], len(s))
	}
	return s
}

// result is the outcome of an op, in a form that compares.
type result struct {
	Errno string // "" for success
	N     int64
	Text  string
}

func (r result) String() string {
	if r.Errno != "" {
		return r.Errno
	}
	return strings.TrimSpace(fmt.Sprintf("ok %d %s", r.N, r.Text))
}

// target is a mounted volume that ops are done on. Do is called by one
// goroutine at a time; open files are kept in slots.
type target interface {
	Do(o op) result
	Close() error
}

// What is the matter with an op besides errnos.
var errNothingOpen = errors.New("nothing open")

func failed(err error) result {
	var e syscall.Errno
	if errors.Is(err, errNothingOpen) {
		return result{Errno: errNothingOpen.Error()}
	}
	if errors.As(err, &e) {
		return result{Errno: unix.ErrnoName(e)}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return result{Errno: "short"}
	}
	return result{Errno: "not an errno: " + err.Error()}
}

func done(n int64, err error) result {
	if err != nil {
		return failed(err)
	}
	return result{N: n}
}

// text is the outcome of an op that reads.
func text(s string, err error) result {
	if err != nil {
		return failed(err)
	}
	return result{Text: s}
}

func digest(b []byte) string {
	if len(b) == 0 {
		return "empty"
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%d:%s", len(b), hex.EncodeToString(sum[:6]))
}

// data makes the bytes that a write of an op writes.
func data(o op) []byte {
	b := make([]byte, o.Len)
	x := uint32(o.Seed)*2654435761 + uint32(o.Off) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// statText is what is compared of attributes. Sizes of directories are the file
// system's own affair.
func statText(mode, nlink, uid, gid uint32, size int64, rdev uint64) string {
	if mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	if f := mode & unix.S_IFMT; f != unix.S_IFBLK && f != unix.S_IFCHR {
		rdev = 0
	}
	return fmt.Sprintf("mode=%#o nlink=%d owner=%d:%d size=%d rdev=%#x", mode, nlink, uid, gid, size, rdev)
}
