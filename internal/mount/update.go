package mount

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
)

const (
	fetchTimeout = 30 * time.Second
	// switchTimeout is how long a new graph may take to reach its bricks.
	switchTimeout = 2 * time.Minute
	// retryAfter is when a change that failed is tried again, if the source
	// says nothing before.
	retryAfter = 30 * time.Second
	// releaseTimeout bounds the release of one file in a graph that goes.
	releaseTimeout = 5 * time.Second
)

// watch keeps the graph in step with the volfile.
func (s *Session) watch() {
	defer s.work.Done()
	var retry <-chan time.Time
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.cfg.Source.Changed():
		case <-s.poke:
		case <-retry:
		}
		retry = nil
		if err := s.refresh(); err != nil && s.ctx.Err() == nil {
			s.log.Warn("the volfile changed, but the volume stays as it is", "err", err)
			retry = time.After(retryAfter)
		}
	}
}

// refresh fetches the volfile and does what is needed.
func (s *Session) refresh() error {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
	text, err := s.cfg.Source.Fetch(ctx)
	cancel()
	if err != nil {
		return err
	}
	if text == s.Volfile() {
		return nil
	}
	file, err := s.parse(text)
	if err != nil {
		return err
	}
	r := s.cur.Load()
	if r == closedRunning {
		return nil
	}
	now := r.g.File()
	if volfile.Same(now, file) {
		s.setText(text)
		return nil
	}
	if volfile.SameTopology(now, file) {
		switch err := r.g.Reconfigure(file); {
		case err == nil:
			for _, c := range volfile.Changes(now, file) {
				s.log.Info("option changed", "change", c.String())
			}
			s.setText(text)
			return nil
		case !errors.Is(err, graph.ErrRebuild):
			return err
		default:
			s.log.Info("a new graph is needed", "because", err)
		}
	}
	if err := s.change(file, r); err != nil {
		return err
	}
	s.setText(text)
	return nil
}

func (s *Session) setText(text string) {
	s.mu.Lock()
	s.text = text
	s.mu.Unlock()
}

// change replaces graph old by one of file.
func (s *Session) change(file *volfile.File, old *running) error {
	ctx, cancel := context.WithTimeout(s.ctx, switchTimeout)
	defer cancel()
	r, err := s.build(ctx, file, old)
	if err != nil {
		return fmt.Errorf("the new graph is not usable: %w", err)
	}
	// What the old graph has answered and not done yet must not come after what
	// goes through the new one. Who must hear of errors hears of them there: his
	// file does not move then.
	if err := old.g.Quiesce(ctx); err != nil {
		s.log.Warn("not all that was written is done before the volume changes to a new graph", "err", err)
	}
	s.mu.Lock()
	if s.done != nil {
		s.mu.Unlock()
		return errors.Join(fmt.Errorf("the volume is closed: %w", syscall.ESHUTDOWN), r.g.Close())
	}
	s.old[old] = true
	s.cur.Store(r)
	s.work.Add(1)
	s.mu.Unlock()
	s.log.Info("volume changed to a new graph", "graph", s.count-1)
	go s.retire(old)
	s.switched.tell()
	return nil
}

// retire takes an old graph down after its last request and its last file.
func (s *Session) retire(old *running) {
	defer s.work.Done()
	// Requests on files move them when they come; here go those that are not
	// in use just now. What was being opened when the graph changed comes in
	// the second round, when no request is inside the old one any more.
	s.moveFiles()
	if old.drain(s.ctx, false) == nil {
		s.moveFiles()
	}
	if old.drain(s.ctx, true) != nil {
		return // Close takes it down
	}
	s.mu.Lock()
	if s.done != nil {
		s.mu.Unlock()
		return
	}
	delete(s.old, old)
	s.mu.Unlock()
	old.releaseGone()
	if err := old.g.Close(); err != nil {
		s.log.Warn("closing the old graph", "err", err)
	}
}

// moveFiles opens in the current graph what is open in older ones.
func (s *Session) moveFiles() {
	for _, f := range s.files.list() {
		r, c := s.enter()
		if r != closedRunning && f.run.Load() != r {
			s.follow(s.ctx, f, r)
		}
		r.leave(c)
		if r == closedRunning {
			return
		}
	}
}

// releaseGone has the translators of a graph forget the files that are open in a
// later one, so that the Fds do not keep the graph in memory.
func (r *running) releaseGone() {
	r.mu.Lock()
	gone := r.gone
	r.gone = nil
	r.mu.Unlock()
	for _, f := range gone {
		r.release(f)
	}
}

// release releases a file in graph r. There is nobody to tell of an error.
func (r *running) release(f *openFile) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if f.fd.Dir {
		r.top.Do(ctx, &fop.Releasedir{GFID: f.gfid, Fd: f.fd})
	} else {
		r.top.Do(ctx, &fop.Release{GFID: f.gfid, Fd: f.fd})
	}
}
