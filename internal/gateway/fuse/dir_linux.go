package fuse

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// chunkSize is how much of a listing bricks are asked for at once. The kernel
// asks for less; it gets the rest from memory.
const chunkSize = 128 << 10

// dir is an open directory of the kernel's.
type dir struct {
	d *volume.Dir
	n *node

	mu   sync.Mutex
	now  *chunk
	pos  int         // the next entry of now
	next chan *chunk // what is being fetched ahead, after the last of now; nil if nothing is
}

// chunk is a part of a listing.
type chunk struct {
	entries []fop.Dirent
	after   uint64 // the offset that it begins behind
	eof     bool
	err     error
	at      time.Time // when it was asked for
	changes uint64    // bridge.changes by then
}

// last is the offset of the last entry.
func (c *chunk) last() uint64 {
	if n := len(c.entries); n > 0 {
		return c.entries[n-1].Off
	}
	return c.after
}

// OpenDir opens a directory.
func (b *bridge) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, st := b.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	c := b.cred(&in.InHeader)
	d, err := b.v.Opendir(background, &c, n.gfid)
	if err != nil {
		return status(err)
	}
	od := &dir{d: d, n: n}
	n.addDir(od)
	out.Fh = b.dirs.add(od)
	return fuse.OK
}

// ReleaseDir ends an open directory. Nobody waits for it.
func (b *bridge) ReleaseDir(in *fuse.ReleaseIn) {
	d := b.dirs.take(in.Fh)
	if d == nil {
		return
	}
	d.n.dropDir(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopAhead()
	c := fop.Cred{PID: d.d.Fd.PID}
	if err := d.d.Close(background, &c); err != nil {
		b.log.Debug("releasedir", "gfid", d.n.gfid, "err", err)
	}
}

// FsyncDir makes a directory durable.
func (b *bridge) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d := b.dirs.get(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	c := b.cred(&in.InHeader)
	return status(d.d.Fsync(background, &c))
}

// ReadDir lists names.
func (b *bridge) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.list(in, func(_ *dir, e *fop.Dirent, _ *chunk) bool {
		return out.AddDirEntry(b.dirEntry(e))
	})
}

// ReadDirPlus lists names with attributes. Each entry that has them counts as a
// lookup.
func (b *bridge) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return b.list(in, func(d *dir, e *fop.Dirent, c *chunk) bool {
		eo := out.AddDirLookupEntry(b.dirEntry(e))
		if eo == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." || !e.Stat.Full() {
			return true // node 0: look it up
		}
		if n := b.nodes.find(e.Stat.GFID); n != nil && n.changed.Load() > c.changes {
			return true
		}
		b.entryOut(eo, d.n, e.Name, &e.Stat)
		age := time.Since(c.at)
		eo.SetEntryTimeout(left(b.cfg.EntryTimeout, age))
		eo.SetAttrTimeout(left(b.cfg.AttrTimeout, age))
		return true
	})
}

func (b *bridge) dirEntry(e *fop.Dirent) fuse.DirEntry {
	ino, mode := e.Ino, e.Type<<12
	if !e.Stat.IsZero() {
		ino = e.Stat.Ino
		if mode == 0 {
			mode = e.Stat.Mode
		}
	}
	return fuse.DirEntry{Name: e.Name, Ino: b.ino(ino), Mode: mode, Off: e.Off}
}

// list gives entries after in.Offset to add until it takes no more or none are
// left.
func (b *bridge) list(in *fuse.ReadIn, add func(*dir, *fop.Dirent, *chunk) bool) fuse.Status {
	d := b.dirs.get(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	c := b.cred(&in.InHeader)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := b.seek(&c, d, in.Offset); err != nil {
		return status(err)
	}
	added := false
	for {
		for d.pos < len(d.now.entries) {
			if !add(d, &d.now.entries[d.pos], d.now) {
				return fuse.OK
			}
			added = true
			d.pos++
		}
		if d.now.eof {
			return fuse.OK
		}
		// What is under way is not waited for if there is something to tell.
		if added && !d.ready() {
			return fuse.OK
		}
		if err := b.advance(&c, d); err != nil {
			if added {
				return fuse.OK // the next request hears of it
			}
			return status(err)
		}
	}
}

// seek has d go on behind an offset.
func (b *bridge) seek(c *fop.Cred, d *dir, off uint64) error {
	if now := d.now; now != nil && now.err == nil {
		switch {
		case off == 0: // rewinddir(3) shows what is there by then
		case d.pos > 0 && now.entries[d.pos-1].Off == off, d.pos == 0 && now.after == off:
			return nil
		default:
			if now.after == off {
				d.pos = 0
				return nil
			}
			for i := range now.entries {
				if now.entries[i].Off == off {
					d.pos = i + 1
					return nil
				}
			}
		}
	}
	d.stopAhead()
	d.now, d.pos = b.fetch(c, d.d, off), 0
	if err := d.now.err; err != nil {
		return err
	}
	b.ahead(c, d)
	return nil
}

// advance goes on with the next chunk.
func (b *bridge) advance(c *fop.Cred, d *dir) error {
	var next *chunk
	if d.next != nil {
		next = <-d.next
		d.next = nil
	} else {
		next = b.fetch(c, d.d, d.now.last())
	}
	if next.err != nil {
		return next.err // now stays: the request can be repeated
	}
	d.now, d.pos = next, 0
	b.ahead(c, d)
	return nil
}

// ahead begins to fetch what follows.
func (b *bridge) ahead(c *fop.Cred, d *dir) {
	if d.now.eof {
		return
	}
	ch, after, cred := make(chan *chunk, 1), d.now.last(), *c
	d.next = ch
	go func() { ch <- b.fetch(&cred, d.d, after) }()
}

// ready reports whether the next chunk is there.
func (d *dir) ready() bool { return len(d.next) > 0 }

// stopAhead waits for what is under way and drops it.
func (d *dir) stopAhead() {
	if d.next != nil {
		<-d.next
		d.next = nil
	}
}

func (b *bridge) fetch(c *fop.Cred, d *volume.Dir, after uint64) *chunk {
	k := &chunk{after: after, at: time.Now(), changes: b.changes.Load()}
	if b.cfg.Readdirp {
		k.entries, k.eof, k.err = d.Readdirp(background, c, after, chunkSize)
	} else {
		k.entries, k.eof, k.err = d.Readdir(background, c, after, chunkSize)
	}
	return k
}
