// Package where finds out where on a volume's bricks an object lives: the hash of
// its name, the ranges that its directory gives to the subvolumes of
// cluster/distribute, the subvolume that has it, and on every brick what is there,
// with the marks that cluster/replicate left.
//
//	s, err := mount.Open(ctx, …)
//	report, err := where.Find(ctx, s, cred, "/etc/motd")
//
// The path is walked on the volume as a whole. Then each brick is asked by
// itself, through the protocol/client translators of the same graph, so that the
// answer shows bricks that disagree, and what no application ever sees: link
// files, pending marks. Nothing is changed, and nothing healed: a brick is asked
// with LOOKUPs that only read.
//
// Read next: structure.go for how the graph is read, words.go for what marks mean
// to people.
package where

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/volume"
)

// Report says where an object lives. Its JSON form is what `wythe where --json`
// prints.
type Report struct {
	Path string `json:"path"`
	// Of the object, as the volume as a whole shows it; Error is why it does not.
	GFID  string `json:"gfid,omitempty"`
	Type  string `json:"type,omitempty"`
	Error string `json:"error,omitempty"`

	// Of the name; empty for the root. Hashed is the part of the name that is
	// hashed, Hash is in eight hexadecimal digits.
	Name   string `json:"name,omitempty"`
	Hashed string `json:"hashed_part,omitempty"`
	Hash   string `json:"hash,omitempty"`

	// Directory is what the parent gives to each subvolume, in the order of the
	// ranges; Layout is the same of the object itself, if it is a directory.
	Directory string  `json:"directory,omitempty"`
	Ranges    []Range `json:"ranges,omitempty"`
	Layout    []Range `json:"layout,omitempty"`

	// HashedSubvolume is where the hash belongs, CachedSubvolumes are those that
	// have the object itself, not a link file to it.
	HashedSubvolume  string   `json:"hashed_subvolume,omitempty"`
	CachedSubvolumes []string `json:"cached_subvolumes,omitempty"`

	Subvolumes []Subvolume `json:"subvolumes"`

	err error
}

// Err is why the volume as a whole does not show the object, nil if it does.
func (r *Report) Err() error { return r.err }

// Range is the hashes that a directory gives to a subvolume, both ends included.
type Range struct {
	Subvolume string `json:"subvolume"`
	// Start and Stop are in eight hexadecimal digits; empty if the subvolume has
	// no part, Why says why.
	Start  string `json:"start,omitempty"`
	Stop   string `json:"stop,omitempty"`
	Commit string `json:"commit_hash,omitempty"`
	Why    string `json:"why,omitempty"`

	start, stop uint32
}

func (r *Range) has(hash uint32) bool { return r.Start != "" && r.start <= hash && hash <= r.stop }

// Subvolume is a child of cluster/distribute and what its bricks have.
type Subvolume struct {
	Name   string `json:"name"`
	Copies []Copy `json:"copies"`
}

// Copy is what one brick has of the object.
type Copy struct {
	Client  string `json:"client"` // the name of its translator
	Brick   string `json:"brick"`  // host:path
	Arbiter bool   `json:"arbiter,omitempty"`
	Up      bool   `json:"up"`
	Exists  bool   `json:"exists"`
	Error   string `json:"error,omitempty"` // why it cannot be told, or what LOOKUP said

	GFID  string     `json:"gfid,omitempty"`
	Type  string     `json:"type,omitempty"`
	Mode  string     `json:"mode,omitempty"` // octal
	Size  uint64     `json:"size"`
	Mtime *time.Time `json:"mtime,omitempty"`
	// Linkto is the subvolume that a link file points to.
	Linkto string `json:"linkto,omitempty"`
	// Dirty counts operations that this brick began and that were not finished
	// everywhere; Pending what it knows to be missing on bricks.
	Dirty   *Marks  `json:"dirty,omitempty"`
	Pending []Blame `json:"pending,omitempty"`

	layout []byte
}

// Marks are the counters of a changelog attribute.
type Marks struct {
	Data     uint32 `json:"data"`
	Metadata uint32 `json:"metadata"`
	Entry    uint32 `json:"entry"`
}

func (m Marks) any() bool { return m.Data|m.Metadata|m.Entry != 0 }

// parseMarks reads a changelog attribute: three counters of 32 bits.
func parseMarks(b []byte) (m Marks, ok bool) {
	if len(b) < 12 {
		return Marks{}, false
	}
	return Marks{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}, true
}

// Blame is what a brick knows to be missing on another.
type Blame struct {
	Client string `json:"client"`
	Brick  string `json:"brick"`
	Marks
}

// keyDirty counts unfinished operations.
const keyDirty = "trusted.afr.dirty"

// patience is for how long a brick that is being connected to is waited for, if
// nothing says that nobody is there.
const patience = 3 * time.Second

// Find reports on the object at a path of the volume; symbolic links on the way
// are followed, one at the end is not. An error means that nothing could be found
// out; that the object does not exist, or cannot be shown, is in Report.Err.
func Find(ctx context.Context, s *mount.Session, cred fop.Cred, name string) (*Report, error) {
	v := volume.New(s)
	parent, base, full, err := walk(ctx, v, &cred, name)
	if err != nil {
		return nil, err
	}
	r := &Report{Path: full, Name: base}
	var self fop.GFID
	if base == "" {
		self = parent
	} else {
		var st fop.Iatt
		if st, r.err = v.Lookup(ctx, &cred, parent, base); r.err == nil {
			self = st.GFID
			r.Type = typeName(st.Mode)
		} else {
			r.Error = fop.Errno(r.err).Error()
		}
	}
	if self.IsRoot() {
		r.Type = "directory"
	}
	if !self.IsZero() {
		r.GFID = self.String()
	}
	err = s.Use(func(g *graph.Graph) error {
		t, err := readStructure(g)
		if err != nil {
			return err
		}
		f := &finder{t: t, cred: cred, give: time.Now().Add(patience)}
		f.object(ctx, r, parent, self, base)
		if base != "" {
			r.Directory = path.Dir(full)
			r.Ranges = f.ranges(f.ask(ctx, &fop.Lookup{GFID: parent}))
			f.place(r, base)
		}
		return ctx.Err()
	})
	return r, err
}

// finder asks bricks.
type finder struct {
	t    *structure
	cred fop.Cred
	give time.Time // when bricks that do not answer are given up
}

// object fills in what each brick has.
func (f *finder) object(ctx context.Context, r *Report, parent, self fop.GFID, base string) {
	q := &fop.Lookup{GFID: self}
	if base != "" {
		q = &fop.Lookup{Parent: parent, Name: base}
	}
	r.Subvolumes = f.ask(ctx, q)
	isDir := r.Type == "directory"
	for _, sub := range r.Subvolumes {
		for _, c := range sub.Copies {
			if c.Exists && c.Linkto == "" {
				isDir = isDir || r.Type == "" && c.Type == "directory"
				if !slices.Contains(r.CachedSubvolumes, sub.Name) {
					r.CachedSubvolumes = append(r.CachedSubvolumes, sub.Name)
				}
			}
		}
	}
	if isDir {
		r.Layout = f.ranges(r.Subvolumes)
	}
}

// place finds the subvolume that a name belongs to.
func (f *finder) place(r *Report, base string) {
	if f.t.hasher != nil {
		var h uint32
		r.Hashed, h = f.t.hasher.HashName(base)
		r.Hash = fmt.Sprintf("%08x", h)
		for i := range r.Ranges {
			if r.Ranges[i].has(h) {
				r.HashedSubvolume = r.Ranges[i].Subvolume
			}
		}
	}
	if len(f.t.subvolumes) == 1 {
		r.HashedSubvolume = f.t.subvolumes[0].name
	}
}

// ask sends a lookup to every brick, all at once.
func (f *finder) ask(ctx context.Context, q *fop.Lookup) []Subvolume {
	subs := make([]Subvolume, len(f.t.subvolumes))
	var wg sync.WaitGroup
	for i := range f.t.subvolumes {
		s := &f.t.subvolumes[i]
		subs[i] = Subvolume{Name: s.name, Copies: make([]Copy, len(s.leaves))}
		for j := range s.leaves {
			wg.Go(func() { subs[i].Copies[j] = f.askOne(ctx, s, j, *q) })
		}
	}
	wg.Wait()
	return subs
}

func (f *finder) askOne(ctx context.Context, s *subvolume, j int, q fop.Lookup) Copy {
	l := &s.leaves[j]
	c := Copy{Client: l.name, Brick: l.brick, Arbiter: l.arbiter}
	want := new(fop.Dict)
	for _, key := range append([]string{fop.XattrDHT, fop.XattrLinkto, keyDirty}, s.pending...) {
		want.Append(key, fop.Uint(256))
	}
	q.Header = fop.Header{Cred: f.cred, XData: want}
	reply, err := fop.Call(ctx, l.handler, &q)
	for errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(f.give) && ctx.Err() == nil {
		select { // it may be about to be connected: the volume opens with its first brick
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		reply, err = fop.Call(ctx, l.handler, &q)
	}
	c.Up = !errors.Is(err, syscall.ENOTCONN)
	switch errno := fop.Errno(err); {
	case err == nil:
		f.fill(&c, s, reply)
	case c.Up && (errno == syscall.ENOENT || errno == syscall.ESTALE):
	default:
		c.Error = err.Error()
	}
	return c
}

func (f *finder) fill(c *Copy, s *subvolume, reply *fop.LookupReply) {
	st := &reply.Stat
	mtime := time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)).UTC()
	c.Exists, c.GFID, c.Type, c.Mode, c.Size, c.Mtime = true, st.GFID.String(), typeName(st.Mode), fmt.Sprintf("%04o", st.Mode&0o7777), st.Size, &mtime
	c.Linkto = strings.TrimRight(string(reply.XData.Bytes(fop.XattrLinkto)), "\x00")
	c.layout = slices.Clone(reply.XData.Bytes(fop.XattrDHT))
	if m, ok := parseMarks(reply.XData.Bytes(keyDirty)); ok && m.any() {
		c.Dirty = &m
	}
	for i, key := range s.pending {
		if m, ok := parseMarks(reply.XData.Bytes(key)); ok && m.any() && i < len(s.leaves) {
			c.Pending = append(c.Pending, Blame{Client: s.leaves[i].name, Brick: s.leaves[i].brick, Marks: m})
		}
	}
}

// ranges reads a directory's layout from what its bricks have of it.
func (f *finder) ranges(subs []Subvolume) []Range {
	var all []Range
	for _, sub := range subs {
		r := Range{Subvolume: sub.Name, Why: "down"}
		for _, c := range sub.Copies {
			switch b := c.layout; {
			case !c.Up:
			case !c.Exists:
				r.Why = "directory missing"
			case len(b) < 16 && r.Start == "":
				r.Why = "no layout"
			case len(b) >= 16 && r.Start == "":
				r.start, r.stop = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
				r.Commit = fmt.Sprintf("%08x", binary.BigEndian.Uint32(b))
				if r.start == 0 && r.stop == 0 {
					r.Why = "no part"
					continue
				}
				r.Start, r.Stop, r.Why = fmt.Sprintf("%08x", r.start), fmt.Sprintf("%08x", r.stop), ""
			}
		}
		if len(subs) == 1 && r.Why == "no layout" { // as the root of such a volume
			r.Start, r.Stop, r.Why = "00000000", "ffffffff", ""
			r.stop = 1<<32 - 1
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b Range) int {
		switch {
		case (a.Start == "") != (b.Start == ""):
			if a.Start == "" {
				return 1
			}
			return -1
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	return all
}

func typeName(mode uint32) string {
	switch mode & fop.ModeFmt {
	case fop.ModeDir:
		return "directory"
	case fop.ModeRegular:
		return "file"
	case fop.ModeSymlink:
		return "symlink"
	case fop.ModeFIFO:
		return "fifo"
	case fop.ModeSocket:
		return "socket"
	case fop.ModeBlock:
		return "block device"
	case fop.ModeChar:
		return "character device"
	}
	return "unknown"
}

// maxLinks is how many symbolic links a path may lead through, as in Linux.
const maxLinks = 40

// walk finds the directory of the last element of a path. base is "" for the
// root, which then is parent. full is the path without symbolic links.
func walk(ctx context.Context, v *volume.Volume, cred *fop.Cred, name string) (parent fop.GFID, base, full string, err error) {
	type step struct {
		gfid fop.GFID
		name string
	}
	stack := []step{{fop.RootGFID, ""}}
	where := func() string {
		s := ""
		for _, d := range stack[1:] {
			s += "/" + d.name
		}
		return s
	}
	rest := strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		elem := rest[0]
		rest = rest[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		top := stack[len(stack)-1]
		if !slices.ContainsFunc(rest, func(s string) bool { return s != "" && s != "." }) {
			return top.gfid, elem, where() + "/" + elem, nil
		}
		st, err := v.Lookup(ctx, cred, top.gfid, elem)
		at := where() + "/" + elem
		if err != nil {
			return fop.GFID{}, "", "", &fs.PathError{Op: "lookup", Path: at, Err: err}
		}
		switch {
		case st.IsSymlink():
			if links++; links > maxLinks {
				return fop.GFID{}, "", "", &fs.PathError{Op: "lookup", Path: at, Err: syscall.ELOOP}
			}
			target, err := v.Readlink(ctx, cred, st.GFID)
			if err != nil {
				return fop.GFID{}, "", "", &fs.PathError{Op: "lookup", Path: at, Err: err}
			}
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			rest = append(strings.Split(target, "/"), rest...)
		case st.IsDir():
			stack = append(stack, step{st.GFID, elem})
		default:
			return fop.GFID{}, "", "", &fs.PathError{Op: "lookup", Path: at, Err: syscall.ENOTDIR}
		}
	}
	// The path ends with "..", or is the root: its last directory has a name.
	if len(stack) == 1 {
		return fop.RootGFID, "", "/", nil
	}
	full = where()
	return stack[len(stack)-2].gfid, stack[len(stack)-1].name, full, nil
}
