package replicate

import (
	"sync"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
)

// fdState is what is kept of an open file or directory, in the slot of its Fd.
// There is one Fd for all children; each keeps its own number in it.
type fdState struct {
	// opened is on which children it is open.
	opened atomic.Uint32
	// reading is the child, plus 1, that a directory is being listed from.
	reading atomic.Int32

	mu      sync.Mutex
	opening set  // where it is being opened again
	closed  bool // released
}

// fdOf returns the state of an open file, nil for a nil Fd.
func (r *replicate) fdOf(fd *fop.Fd) *fdState {
	if fd == nil {
		return nil
	}
	if s, ok := fd.Get(r).(*fdState); ok {
		return s
	}
	return fd.GetOrSet(r, func() any { return new(fdState) }).(*fdState)
}

// openedOn notes on which children a file was opened (by Open, Opendir or
// Create).
func (r *replicate) openedOn(fd *fop.Fd, on set) {
	if s := r.fdOf(fd); s != nil {
		s.opened.Store(uint32(on))
	}
}

// fixOpen opens a file on those children that are up and do not have it open,
// because they were down when it was opened. It does not wait for them: until
// they have it, bricks know the file by its GFID.
func (r *replicate) fixOpen(fd *fop.Fd, v view) {
	s, ok := fd.Get(r).(*fdState)
	if !ok {
		return
	}
	if v.up&^set(s.opened.Load()) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := v.up &^ set(s.opened.Load()) &^ s.opening
	if s.closed || missing == 0 {
		return
	}
	s.opening |= missing
	for i := range missing.each {
		r.behind.Go(func() { r.openAgain(fd, s, i) })
	}
}

func (r *replicate) openAgain(fd *fop.Fd, s *fdState, i int) {
	head := fop.Header{Cred: fop.Cred{PID: fd.PID}}
	var req fop.Request = &fop.Open{Header: head, GFID: fd.GFID, Flags: fd.Flags &^ (fop.OCreate | fop.OExcl | fop.OTrunc), Fd: fd}
	if fd.Dir {
		req = &fop.Opendir{Header: head, GFID: fd.GFID, Fd: fd}
	}
	_, err := r.children[i].Do(r.life, req)
	s.mu.Lock()
	s.opening = s.opening.without(i)
	closed := s.closed
	if err == nil && !closed {
		s.opened.Or(uint32(only(i)))
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		r.log.Debug("cannot open a file on a copy that came back", "gfid", fd.GFID, "child", r.children[i].Name, "err", err)
	case closed:
		r.releaseOn(only(i), fd)
	}
}

// releaseOn gives up an open file on some children.
func (r *replicate) releaseOn(on set, fd *fop.Fd) {
	var req fop.Request = &fop.Release{GFID: fd.GFID, Fd: fd}
	if fd.Dir {
		req = &fop.Releasedir{GFID: fd.GFID, Fd: fd}
	}
	var buf [maxChildren]answer
	r.fan(r.life, on, req, buf[:r.n])
}
