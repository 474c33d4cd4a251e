package gfapi

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
)

// handle is what *File and *os.File share.
type handle interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(int64) error
	Chmod(fs.FileMode) error
	Stat() (fs.FileInfo, error)
	ReadDir(int) ([]fs.DirEntry, error)
}

// root is what *Volume and *os.Root share.
type root interface {
	Chmod(string, fs.FileMode) error
	Chtimes(string, time.Time, time.Time) error
	Link(string, string) error
	Lstat(string) (fs.FileInfo, error)
	Mkdir(string, fs.FileMode) error
	MkdirAll(string, fs.FileMode) error
	ReadFile(string) ([]byte, error)
	Readlink(string) (string, error)
	Remove(string) error
	RemoveAll(string) error
	Rename(string, string) error
	Stat(string) (fs.FileInfo, error)
	Symlink(string, string) error
	WriteFile(string, []byte, fs.FileMode) error
	FS() fs.FS
	open(string, int, fs.FileMode) (handle, error)
}

type volumeRoot struct{ *Volume }

func (v volumeRoot) open(name string, flag int, perm fs.FileMode) (handle, error) {
	return v.OpenFile(name, flag, perm)
}

type localRoot struct{ *os.Root }

// What follows is where os.Root is stricter than the kernel, or asks in another
// order. No path here leads out of the root.

func (r localRoot) Rename(p, q string) error { return syscall.Rename(r.Name()+"/"+p, r.Name()+"/"+q) }
func (r localRoot) Link(p, q string) error   { return os.Link(r.Name()+"/"+p, r.Name()+"/"+q) }
func (r localRoot) MkdirAll(p string, perm fs.FileMode) error {
	return os.MkdirAll(r.Name()+"/"+p, perm)
}

func (r localRoot) open(name string, flag int, perm fs.FileMode) (handle, error) {
	return r.OpenFile(name, flag, perm)
}

// side is one of the two file systems and what is open on it.
type side struct {
	root
	open1 map[int]handle
}

// result is what an operation gave, in a form that can be compared.
type result struct {
	Value any
	Errno string
}

func outcome(val any, err error) result {
	r := result{Value: val}
	if err != nil {
		r.Value = nil
		r.Errno = "EOF"
		if !errors.Is(err, io.EOF) {
			e := fop.Errno(err)
			if e == syscall.EEXIST && errors.Is(err, syscall.EEXIST) {
				e = syscall.EEXIST
			}
			r.Errno = e.Error()
		}
	}
	return r
}

func describe(fi fs.FileInfo, err error) result {
	if err != nil {
		return outcome(nil, err)
	}
	s := fmt.Sprint(fi.Name(), " ", fi.Mode())
	if fi.Mode().IsRegular() {
		s += fmt.Sprint(" ", fi.Size())
	}
	return outcome(s, nil)
}

// renamed is the outcome of a rename. Of several reasons against one between a
// directory and what is in it, kernels and bricks name different ones.
func renamed(p, q string, err error) result {
	nested := strings.HasPrefix(p+"/", q+"/") || strings.HasPrefix(q+"/", p+"/")
	if nested && is(err, syscall.EINVAL, syscall.EISDIR, syscall.ENOTDIR, syscall.ENOTEMPTY) {
		return result{Errno: "nested"}
	}
	if is(err, syscall.EEXIST) { // XFS's word for it
		err = syscall.ENOTEMPTY
	}
	return outcome(nil, err)
}

// step is one random operation, done to both sides.
type step struct {
	text string
	do   func(s *side) result
}

type generator struct{ *rand.Rand }

func (g generator) path() string {
	names := []string{"a", "b", "c", "d"}
	p := names[g.IntN(4)]
	for g.IntN(2) == 0 {
		p += "/" + names[g.IntN(4)]
		if g.IntN(12) == 0 {
			p += "/../" + names[g.IntN(4)]
		}
	}
	return p
}

func (g generator) step() step {
	p, q, slot := g.path(), g.path(), g.IntN(3)
	n := g.IntN(3000)
	data := bytes.Repeat([]byte{byte('a' + g.IntN(26))}, n)
	off := int64(g.IntN(5000))
	dirMode, fileMode := []fs.FileMode{0o700, 0o755, 0o775}[g.IntN(3)], []fs.FileMode{0o600, 0o644, 0o666}[g.IntN(3)]
	flags := []int{os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL,
		os.O_RDWR | os.O_CREATE | os.O_TRUNC, os.O_RDWR | os.O_CREATE | os.O_APPEND}[g.IntN(7)]
	on := func(s *side, f func(h handle) result) result {
		if h := s.open1[slot]; h != nil {
			return f(h)
		}
		return result{}
	}
	all := []step{
		{"mkdir " + p, func(s *side) result { return outcome(nil, s.Mkdir(p, dirMode)) }},
		{"mkdir " + p, func(s *side) result { return outcome(nil, s.Mkdir(p, dirMode)) }},
		{"mkdirall " + p, func(s *side) result { return outcome(nil, s.MkdirAll(path.Clean(p), dirMode)) }},
		{"writefile " + p, func(s *side) result { return outcome(nil, s.WriteFile(p, data, fileMode)) }},
		{"writefile " + p, func(s *side) result { return outcome(nil, s.WriteFile(p, data, fileMode)) }},
		{"readfile " + p, func(s *side) result {
			b, err := s.ReadFile(p)
			return outcome(fmt.Sprintf("%d %08x", len(b), crc32.ChecksumIEEE(b)), err)
		}},
		{"stat " + p, func(s *side) result { return describe(s.Stat(p)) }},
		{"lstat " + p, func(s *side) result { return describe(s.Lstat(p)) }},
		{"symlink " + q + " " + p, func(s *side) result { return outcome(nil, s.Symlink(q, p)) }},
		{"readlink " + p, func(s *side) result { t, err := s.Readlink(p); return outcome(t, err) }},
		{"link " + p + " " + q, func(s *side) result { return outcome(nil, s.Link(p, q)) }},
		{"rename " + p + " " + q, func(s *side) result { return renamed(p, q, s.Rename(p, q)) }},
		{"rename " + p + " " + q, func(s *side) result { return renamed(p, q, s.Rename(p, q)) }},
		{"remove " + p, func(s *side) result { return outcome(nil, s.Remove(p)) }},
		{"chmod " + p, func(s *side) result { return outcome(nil, s.Chmod(p, 0o700|fileMode)) }},
		{"chtimes " + p, func(s *side) result {
			return outcome(nil, s.Chtimes(p, time.Unix(off, 0), time.Unix(2*off, 0)))
		}},
		{"readdir " + p, func(s *side) result {
			h, err := s.open(p, os.O_RDONLY, 0)
			if err != nil {
				return outcome(nil, err)
			}
			defer h.Close()
			list, err := h.ReadDir(-1)
			var names []string
			for _, e := range list {
				names = append(names, e.Name()+" "+e.Type().String())
			}
			slices.Sort(names)
			return outcome(strings.Join(names, ","), err)
		}},
		{fmt.Sprintf("open %#x %s in %d", flags, p, slot), func(s *side) result {
			if h := s.open1[slot]; h != nil {
				h.Close()
			}
			delete(s.open1, slot)
			h, err := s.open(p, flags, fileMode)
			if err != nil {
				return outcome(nil, err)
			}
			s.open1[slot] = h
			return describe(h.Stat())
		}},
		{fmt.Sprintf("write %d to %d", n, slot), func(s *side) result {
			return on(s, func(h handle) result { m, err := h.Write(data); return outcome(m, err) })
		}},
		{fmt.Sprintf("writeat %d to %d", n, slot), func(s *side) result {
			return on(s, func(h handle) result {
				m, err := h.WriteAt(data, off)
				if err != nil && fop.Errno(err) == syscall.EIO { // WriteAt with O_APPEND
					return result{Errno: "append"}
				}
				return outcome(m, err)
			})
		}},
		{fmt.Sprintf("read %d of %d", n, slot), func(s *side) result {
			return on(s, func(h handle) result {
				b := make([]byte, n)
				m, err := h.Read(b)
				return outcome(string(b[:m]), err)
			})
		}},
		{fmt.Sprintf("readat %d of %d", n, slot), func(s *side) result {
			return on(s, func(h handle) result {
				b := make([]byte, n)
				m, err := h.ReadAt(b, off)
				return outcome(string(b[:m]), err)
			})
		}},
		{fmt.Sprintf("seek of %d", slot), func(s *side) result {
			return on(s, func(h handle) result {
				if fi, err := h.Stat(); err != nil || fi.IsDir() {
					return result{}
				}
				at, err := h.Seek(off-1000, int(off%3))
				return outcome(at, err)
			})
		}},
		{fmt.Sprintf("truncate of %d", slot), func(s *side) result {
			return on(s, func(h handle) result { return outcome(nil, h.Truncate(off)) })
		}},
		{fmt.Sprintf("fstat of %d", slot), func(s *side) result {
			return on(s, func(h handle) result { return describe(h.Stat()) })
		}},
	}
	if g.IntN(40) == 0 {
		return step{"removeall " + p, func(s *side) result { return outcome(nil, s.RemoveAll(p)) }}
	}
	return all[g.IntN(len(all))]
}

// tree describes all that a side has.
func tree(t *testing.T, s *side) (lines []string) {
	must(t, fs.WalkDir(s.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint(p, " ", fi.Mode())
		switch {
		case fi.Mode().IsRegular():
			b, err := s.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %08x", len(b), crc32.ChecksumIEEE(b))
		case fi.Mode().Type() == fs.ModeSymlink:
			target, err := s.Readlink(p)
			if err != nil {
				return err
			}
			line += " " + target
		}
		if p != "." {
			lines = append(lines, line)
		}
		return nil
	}))
	return lines
}

// TestLikeALocalDirectory does one random stream of operations on a volume and
// on a directory of this machine: results and errnos are the same.
func TestLikeALocalDirectory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("errnos are compared with those of Linux")
	}
	streams := 100
	if testing.Short() {
		streams = 5
	}
	for seed := range uint64(streams) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compareStreams(t, memVolume(t), seed, 300) })
	}
}

func compareStreams(t *testing.T, v *Volume, seed uint64, steps int) {
	local, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer local.Close()
	old := syscallUmask(0o022)
	defer syscallUmask(old)
	ours, theirs := &side{volumeRoot{v}, map[int]handle{}}, &side{localRoot{local}, map[int]handle{}}
	defer func() {
		for _, s := range []*side{ours, theirs} {
			for _, h := range s.open1 {
				h.Close()
			}
		}
	}()
	g := generator{rand.New(rand.NewPCG(seed, 7))}
	var history []string
	for range steps {
		st := g.step()
		a, b := st.do(ours), st.do(theirs)
		history = append(history, fmt.Sprintf("%s → %.60v %s", st.text, b.Value, b.Errno))
		if d := cmp.Diff(b, a); d != "" {
			t.Fatalf("%s (-local +volume):\n%s\nafter\n%s", st.text, d, strings.Join(history[max(0, len(history)-40):], "\n"))
		}
	}
	if d := cmp.Diff(tree(t, theirs), tree(t, ours)); d != "" {
		t.Errorf("trees differ (-local +volume):\n%s", d)
	}
}
