package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// parallelCreateCase has several create one name: exactly one wins.
func parallelCreateCase(s *suite) {
	for round := range 20 {
		var wins, dirs atomic.Int32
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				_, fd, err := s.tryCreate(fop.RootGFID, fmt.Sprintf("f%d", round), fop.ORdwr|fop.OExcl, 0o644)
				if err == nil {
					wins.Add(1)
					fop.Call(s.ctx, s.h, &fop.Release{Header: s.head(), GFID: fd.GFID, Fd: fd})
				} else if fop.Errno(err) != syscall.EEXIST {
					s.Errorf("create: %v", err)
				}
			})
			wg.Go(func() {
				if _, err := s.tryMkdir(fop.RootGFID, fmt.Sprintf("d%d", round), 0o755); err == nil {
					dirs.Add(1)
				} else if fop.Errno(err) != syscall.EEXIST {
					s.Errorf("mkdir: %v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 || dirs.Load() != 1 {
			s.Fatalf("%d creates and %d mkdirs of one name succeeded", wins.Load(), dirs.Load())
		}
	}
}

// parallelMixCase has several work in one directory, each on names of its own.
func parallelMixCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			check := func(err error, what string) bool {
				if err != nil {
					s.Errorf("worker %d: %s: %v", w, what, err)
				}
				return err == nil
			}
			for i := range 30 {
				a, b := fmt.Sprintf("a%d-%d", w, i), fmt.Sprintf("b%d-%d", w, i)
				r, fd, err := s.tryCreate(d, a, fop.ORdwr|fop.OExcl, 0o644)
				if !check(err, "create") {
					return
				}
				_, err = fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(), GFID: fd.GFID, Fd: fd, Data: []byte(a)})
				check(err, "write")
				_, err = s.tryRename(d, a, d, b)
				check(err, "rename")
				got, err := fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: fd.GFID, Fd: fd, Size: 100})
				if check(err, "read") && string(got.Data) != a {
					s.Errorf("worker %d read %q, want %q", w, got.Data, a)
				}
				l, err := s.lookup(d, b)
				if check(err, "lookup") && l.Stat.GFID != r.Stat.GFID {
					s.Errorf("worker %d found another file", w)
				}
				check(s.tryUnlink(d, b), "unlink")
				_, err = fop.Call(s.ctx, s.h, &fop.Release{Header: s.head(), GFID: fd.GFID, Fd: fd})
				check(err, "release")
			}
		})
	}
	wg.Wait()
	s.ok(s.tryRmdir(fop.RootGFID, "d"), "rmdir at the end")
}

// parallelIOCase writes stripes of one file at once and reads them back.
func parallelIOCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	const workers, each, size = 4, 16, 10_000
	stripe := func(i int) []byte { return []byte(strings.Repeat(string(rune('a'+i%26)), size)) }
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < workers*each; i += workers {
				_, err := fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: uint64(i * size), Data: stripe(i)})
				if err != nil {
					s.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for w := range workers {
		wg.Go(func() {
			for i := w; i < workers*each; i += workers {
				r, err := fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: uint64(i * size), Size: size, Into: make([]byte, size)})
				if err != nil || !bytes.Equal(r.Data, stripe(i)) {
					s.Errorf("stripe %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// parallelXattropCase counts in one xattr: no count is lost.
func parallelXattropCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "")
	const workers, each = 4, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				_, err := fop.Call(s.ctx, s.h, &fop.Xattrop{Header: s.head(), GFID: g, Dict: fop.NewDict(pair("trusted.counter", "\x00\x00\x00\x01"))})
				if err != nil {
					s.Errorf("xattrop: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	v, err := s.getxattr(g, "trusted.counter")
	s.ok(err, "getxattr")
	if len(v) != 4 || binary.BigEndian.Uint32(v) != workers*each {
		s.Errorf("counted to %x, want %d", v, workers*each)
	}
}
