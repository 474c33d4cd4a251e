package server

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// A session is one client identity on one brick: what locks and open files
// belong to. It begins with the first successful SETVOLUME of that identity
// and ends when the last connection that shares it is gone.
type session struct {
	fop.Client
	key    sessionKey
	brick  *brick
	table  *sessionTable
	fds    fdTable
	binds  int // guarded by sessionTable.mu
	since  time.Time
	subdir fop.GFID // zero: the client sees the whole volume
	// subdirPath is what the client asked for, "" for the whole volume.
	subdirPath string
	// lockXData is the xdata of lock requests that come without any.
	lockXData *fop.Dict

	upcallLocal atomic.Pointer[func(*fop.Upcall)] // of a client in this process
	lastOwner   atomic.Pointer[string]            // see owner

	// inflight counts fops that have not returned, plus one while the session
	// is bound; idle is closed when it reaches 0.
	inflight atomic.Int64
	idle     chan struct{}
	ended    sync.Once

	mu    sync.Mutex
	conns map[*peer]struct{}
}

// sessionKey is the identity: GlusterFS compares the uuid and the credential
// of the SETVOLUME call, and both are bound to one brick.
type sessionKey struct {
	brick string
	uuid  string
	cred  string
}

// sessionTable holds the sessions of a server.
type sessionTable struct {
	mu  sync.Mutex
	all map[sessionKey]*session
	// gone is called, in a goroutine of its own, when a session has lost its
	// last connection.
	gone    func(*session)
	wg      sync.WaitGroup
	stopped bool
}

// bind returns the session of an identity and counts one more connection on
// it. describe fills in a new one before anybody sees it.
func (t *sessionTable) bind(key sessionKey, b *brick, describe func(*session)) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[key]
	if s == nil {
		s = &session{key: key, brick: b, table: t, since: time.Now(), idle: make(chan struct{}), conns: map[*peer]struct{}{}}
		s.Client.ID = key.uuid
		s.Client.Upcall = s.upcall
		s.lockXData = fop.NewDict(fop.Pair{Key: fop.KeyConnectionID, Val: fop.Str(key.uuid)})
		s.inflight.Store(1)
		describe(s)
		if t.all == nil {
			t.all = map[sessionKey]*session{}
		}
		t.all[key] = s
	}
	s.binds++
	return s
}

// unbind counts one connection less and ends the session with the last.
func (t *sessionTable) unbind(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.binds--; s.binds > 0 {
		return
	}
	delete(t.all, s.key)
	if t.stopped {
		go t.gone(s)
		return
	}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		t.gone(s)
	}()
}

// stop ends all sessions that are left and waits, while ctx lasts, until what
// they held is given back.
func (t *sessionTable) stop(ctx context.Context) {
	t.mu.Lock()
	t.stopped = true
	left := t.all
	t.all = nil
	t.mu.Unlock()
	for _, s := range left {
		t.wg.Go(func() { t.gone(s) })
	}
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// list returns the sessions of one brick, or of all with nil.
func (t *sessionTable) list(b *brick) []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	var l []*session
	for _, s := range t.all {
		if b == nil || s.brick == b {
			l = append(l, s)
		}
	}
	return l
}

// enter counts a fop that begins; false when the session has ended.
func (s *session) enter() bool {
	for {
		n := s.inflight.Load()
		if n == 0 {
			return false
		}
		if s.inflight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave counts a fop that has ended.
func (s *session) leave() {
	if s.inflight.Add(-1) == 0 {
		close(s.idle)
	}
}

// put gives back a reference to an open file; the last one releases it.
func (s *session) put(f *openFile) {
	if f.refs.Add(-1) > 0 {
		return
	}
	head := fop.Header{From: &s.Client}
	// The release must reach the brick whatever became of the client.
	ctx := context.Background()
	if f.Dir {
		s.brick.Do(ctx, &fop.Releasedir{Header: head, GFID: f.GFID, Fd: &f.Fd})
	} else {
		s.brick.Do(ctx, &fop.Release{Header: head, GFID: f.GFID, Fd: &f.Fd})
	}
}

// drainGrace is for how long the locks of a client that is gone wait for its
// fops in flight before they are dropped.
const drainGrace = time.Second

// end takes down what a client leaves behind, whose fops in flight have been
// cancelled with their connections: open files are flushed, which drops their posix locks, and released; then
// the translators hear that the client is gone. A fop that hangs on a disk
// holds up neither: the translators hear of it a second time, when the last
// fop has come back, for what that one may have taken in between.
func (s *session) end() { s.ended.Do(s.takeDown) }

func (s *session) takeDown() {
	ctx := context.Background()
	head := fop.Header{From: &s.Client}
	for _, f := range s.fds.close() {
		if !f.Dir {
			s.brick.Do(ctx, &fop.Flush{Header: head, GFID: f.GFID, Fd: &f.Fd})
		}
		s.put(f)
	}
	s.leave()
	timer := time.NewTimer(drainGrace)
	defer timer.Stop()
	select {
	case <-s.idle:
	case <-timer.C:
		s.brick.Do(ctx, &fop.Disconnect{Header: head})
		<-s.idle
	}
	s.brick.Do(ctx, &fop.Disconnect{Header: head})
}

// attach and detach keep the set of connections that upcalls go to.
func (s *session) attach(p *peer) {
	s.mu.Lock()
	s.conns[p] = struct{}{}
	s.mu.Unlock()
}

func (s *session) detach(p *peer) {
	s.mu.Lock()
	delete(s.conns, p)
	s.mu.Unlock()
}

// upcall sends a notice to each connection of the client.
func (s *session) upcall(u *fop.Upcall) {
	if !s.subdir.IsZero() && u.GFID == s.subdir {
		c := *u
		c.GFID = fop.RootGFID
		u = &c
	}
	if f := s.upcallLocal.Load(); f != nil {
		(*f)(u)
	}
	s.mu.Lock()
	peers := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, p := range peers {
		p.callback(u)
	}
}
