package locks

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is "features/locks".
var Type = xlator.Type{
	Name: "features/locks", New: New, MinChildren: 1, MaxChildren: 1,
	Options: []xlator.Option{
		{Key: "mandatory-locking", Default: "off", OneOf: []string{"off", "file", "forced", "optimal"}},
		{Key: "trace", Kind: xlator.KindBool, Default: "off"},
		{Key: "monkey-unlocking", Kind: xlator.KindBool, Default: "false",
			Ignored: "forgetting unlocks at random is fault injection; put a fault-injecting translator above instead"},
		{Key: "revocation-secs", Kind: xlator.KindInt, Default: "0", Max: 1<<31 - 1},
		{Key: "revocation-clear-all", Kind: xlator.KindBool, Default: "false"},
		{Key: "revocation-max-blocked", Kind: xlator.KindInt, Default: "0", Max: 1<<31 - 1},
		{Key: "notify-contention", Kind: xlator.KindBool, Default: "yes"},
		{Key: "notify-contention-delay", Kind: xlator.KindInt, Default: "5", Max: 60},
		{Key: "enforce-mandatory-lock", Kind: xlator.KindBool, Default: "off"},
	},
}

// Locks is the translator.
type Locks struct {
	next   fop.Handler
	name   string
	host   string
	log    *slog.Logger
	opts   atomic.Pointer[options]
	now    func() time.Time
	fdIDs  atomic.Uint64
	shards [64]shard
	// inodelks counts objects with granted or waiting inodelks. While it is 0 no
	// removal can be in anybody's way.
	inodelks atomic.Int64
}

type shard struct {
	mu       sync.Mutex
	objects  map[fop.GFID]*object
	enforced map[fop.GFID]bool // see mandatory.go
}

type options struct {
	policy
	mandatory mandatoryMode
	enforce   bool
	trace     bool
}

func parse(o xlator.Options) *options {
	p := &options{
		policy: policy{
			notify:           o.Bool("notify-contention", true),
			notifyDelay:      time.Duration(o.Int("notify-contention-delay", 5)) * time.Second,
			revokeAfter:      time.Duration(o.Int("revocation-secs", 0)) * time.Second,
			revokeMaxBlocked: int(o.Int("revocation-max-blocked", 0)),
			revokeAll:        o.Bool("revocation-clear-all", false),
		},
		enforce: o.Bool("enforce-mandatory-lock", false),
		trace:   o.Bool("trace", false),
	}
	switch o.String("mandatory-locking", "off") {
	case "file":
		p.mandatory = mandatoryFile
	case "forced":
		p.mandatory = mandatoryForced
	case "optimal":
		p.mandatory = mandatoryOptimal
	}
	return p
}

// New makes a Locks.
func New(c xlator.Config) (fop.Handler, error) {
	if len(c.Children) != 1 {
		return nil, fmt.Errorf("%s: wants 1 subvolume, has %d: %w", c.Name, len(c.Children), syscall.EINVAL)
	}
	l := &Locks{next: c.Children[0], name: c.Name, log: c.Log, now: time.Now}
	if c.Env != nil {
		l.host = c.Env.Hostname
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, l.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (l *Locks) Reconfigure(o xlator.Options) error {
	p := parse(o)
	if p.mandatory == mandatoryFile {
		l.log.Warn("mandatory-locking file marks no file as mandatory, as in GlusterFS 10.3; use forced or optimal", "volume", l.name)
	}
	l.opts.Store(p)
	return nil
}

// Do carries out one fop.
func (l *Locks) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Lk:
		return l.lk(ctx, r)
	case *fop.Inodelk:
		return l.inodelk(ctx, &r.Header, r.GFID, nil, r.Domain, r.Cmd, r.Flock)
	case *fop.Finodelk:
		return l.inodelk(ctx, &r.Header, fdGFID(r.GFID, r.Fd), r.Fd, r.Domain, r.Cmd, r.Flock)
	case *fop.Entrylk:
		return l.entrylk(ctx, &r.Header, r.GFID, nil, r.Domain, r.Name, r.Cmd, r.Type)
	case *fop.Fentrylk:
		return l.entrylk(ctx, &r.Header, fdGFID(r.GFID, r.Fd), r.Fd, r.Domain, r.Name, r.Cmd, r.Type)
	case *fop.Flush:
		if err := l.flush(r); err != nil {
			return nil, err
		}
	case *fop.Release:
		l.releaseFd(fdGFID(r.GFID, r.Fd), r.Fd)
	case *fop.Disconnect:
		l.disconnect(r.From)
	case *fop.Getactivelk:
		return l.getactivelk(r), nil
	case *fop.Setactivelk:
		return l.setactivelk(r)
	case *fop.Getxattr:
		if strings.HasPrefix(r.Name, clearPrefix) {
			return l.clear(ctx, r.GFID, r.Name, &r.Header, false)
		}
	case *fop.Fgetxattr:
		if r.Name == keyLockinfo {
			return l.lockinfo(ctx, r)
		}
		if strings.HasPrefix(r.Name, interruptPrefix) {
			return l.clear(ctx, fdGFID(r.GFID, r.Fd), r.Name, &r.Header, true)
		}
		if strings.HasPrefix(r.Name, clearPrefix) {
			return l.clear(ctx, fdGFID(r.GFID, r.Fd), r.Name, &r.Header, false)
		}
	case *fop.Setxattr, *fop.Fsetxattr, *fop.Removexattr, *fop.Fremovexattr:
		if reply, err, done := l.xattr(ctx, req); done {
			return reply, err
		}
	case *fop.Unlink, *fop.Rmdir, *fop.Rename:
		if l.inodelks.Load() != 0 {
			return l.removal(ctx, req)
		}
	case *fop.Read, *fop.Write, *fop.Truncate, *fop.Ftruncate, *fop.Discard, *fop.Zerofill, *fop.Open:
		if o := l.opts.Load(); o.mandatory >= mandatoryForced && req.Head().Cred.PID >= 0 {
			if err := l.mayIO(ctx, req, o); err != nil {
				return nil, err
			}
		}
	}
	return l.pass(ctx, req)
}

func fdGFID(g fop.GFID, fd *fop.Fd) fop.GFID {
	if fd != nil && g.IsZero() {
		return fd.GFID
	}
	return g
}

func (l *Locks) shard(g fop.GFID) *shard { return &l.shards[(g[15]^g[7]^g[0])&63] }

// with runs fn on the object g under its lock, and sends the notices that come of
// it afterwards. Without create fn does not run if nothing is known of g.
func (l *Locks) with(g fop.GFID, create bool, fn func(o *object, opt *options)) {
	s := l.shard(g)
	s.mu.Lock()
	o := s.objects[g]
	fresh := o == nil
	if fresh {
		if !create {
			s.mu.Unlock()
			return
		}
		o = &object{gfid: g}
	}
	had, rev := o.hasInodelk(), o.posix.rev
	fn(o, l.opts.Load())
	if has := o.hasInodelk(); has != had {
		if has {
			l.inodelks.Add(1)
		} else {
			l.inodelks.Add(-1)
		}
	}
	if o.posix.rev != rev && len(o.io) > 0 {
		o.wakeIO()
	}
	switch idle := o.idle(); {
	case idle && !fresh:
		delete(s.objects, g)
	case !idle && fresh:
		if s.objects == nil {
			s.objects = map[fop.GFID]*object{}
		}
		s.objects[g] = o
	}
	notices := o.takeNotices()
	s.mu.Unlock()
	for _, n := range notices {
		n.to.Upcall(n.up)
	}
}

func (o *object) hasInodelk() bool {
	for _, d := range o.domains {
		if d.family == inodelk {
			return true
		}
	}
	return len(o.queued) > 0
}

// await waits for a verdict. cancel is called under the object's lock when ctx is
// over first, and says whether the waiter was still there.
func (l *Locks) await(ctx context.Context, g fop.GFID, w *waiter, cancel func(o *object, opt *options) bool) error {
	select {
	case e := <-w.verdict:
		return errno(e)
	case <-ctx.Done():
	}
	gone := false
	l.with(g, false, func(o *object, opt *options) { gone = cancel(o, opt) })
	if !gone {
		return errno(<-w.verdict)
	}
	return fmt.Errorf("waiting for a lock on %v: %w: %w", g, syscall.EINTR, ctx.Err())
}

func errno(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// goneMark is what a disconnected client has in its slot.
type goneMark struct{}

// identity is who asks. The error is ENOTCONN for a client that is gone and
// EINVAL for a missing lock owner.
func (l *Locks) identity(h *fop.Header) (owner, error) {
	who := owner{client: h.From, id: h.Cred.Owner}
	if h.From != nil {
		if h.From.OpVersion < 70000 {
			return who, nil
		}
	}
	for i := 0; i < len(who.id); i++ {
		if who.id[i] != 0 {
			return who, nil
		}
	}
	return who, fmt.Errorf("lock request without a lock owner: %w", syscall.EINVAL)
}

// left reports whether the client has disconnected. Called under the shard's lock
// it cannot miss a Disconnect that has already swept the shard.
func (l *Locks) left(c *fop.Client) bool { return c != nil && c.Get(l) != nil }

func (l *Locks) lk(ctx context.Context, r *fop.Lk) (fop.Reply, error) {
	who, err := l.identity(&r.Header)
	if err != nil {
		return nil, err
	}
	if r.Cmd == fop.LkGetFd {
		return l.getFdLocks(r)
	}
	if r.Cmd >= fop.LkResLck && r.Cmd <= fop.LkResUnlck {
		return nil, fmt.Errorf("reserve locks are not offered: %w", syscall.ENOTSUP)
	}
	first, last, err := lockRange(r.Flock)
	if err != nil || r.Cmd > fop.LkGetFd || r.Flock.Type > fop.LockUnlock {
		return nil, fmt.Errorf("posix lock cmd %d type %d range %d+%d: %w", r.Cmd, r.Flock.Type, int64(r.Flock.Start), int64(r.Flock.Len), syscall.EINVAL)
	}
	g := fdGFID(r.GFID, r.Fd)
	mode := r.XData.Int("glusterfs.lk.lkmode")
	k := &posixLock{owner: who, fd: r.Fd, typ: r.Flock.Type, first: first, last: last,
		pid: r.Flock.PID, procPID: r.Cred.PID, at: l.now()}
	if mode == flagMandatory {
		k.mandatory, k.flags = true, flagMandatory
	}
	out := r.Flock
	if r.Cmd == fop.LkGet {
		out.Type = fop.LockUnlock
		l.with(g, false, func(o *object, _ *options) {
			if c := o.posix.conflict(k); c != nil {
				out = c.flock()
			}
		})
		return l.counted(r, &fop.LkReply{Flock: out}), nil
	}
	enforced := false
	if opt := l.opts.Load(); opt.enforce && opt.mandatory != mandatoryOff {
		if enforced, err = l.isEnforced(ctx, g); err != nil {
			return nil, err
		}
	}
	if r.Fd == nil && k.typ != fop.LockUnlock {
		if err := l.exists(ctx, g); err != nil {
			return nil, err
		}
	}
	var (
		w  *waiter
		no syscall.Errno
	)
	l.with(g, k.typ != fop.LockUnlock, func(o *object, _ *options) {
		if l.left(r.From) {
			no = syscall.ENOTCONN
			return
		}
		if enforced && k.typ != fop.LockUnlock {
			o.posix.preempt(k)
		}
		w, no = o.posix.set(k, r.Cmd == fop.LkSetWait)
		if no == 0 && k.typ == fop.LockUnlock {
			for _, g := range o.posix.granted {
				if g.fd == r.Fd && g.client == r.From {
					out.Type = fop.LockRead // something is left, as lock managers want to know
					break
				}
			}
		}
	})
	if w != nil {
		err = l.await(ctx, g, w, func(o *object, _ *options) bool { return o.posix.cancel(w) })
	} else {
		err = errno(no)
	}
	l.traced(r, g, err)
	if err != nil {
		return nil, err
	}
	return l.counted(r, &fop.LkReply{Flock: out}), nil
}

func (l *Locks) inodelk(ctx context.Context, h *fop.Header, g fop.GFID, fd *fop.Fd, domain string, cmd uint32, f fop.Flock) (fop.Reply, error) {
	who, err := l.identity(h)
	if err != nil {
		return nil, err
	}
	if cmd == fop.LkGet || cmd == fop.LkGetFd {
		return nil, fmt.Errorf("inodelk cannot be asked for: %w", syscall.ENOTSUP)
	}
	first, last, err := lockRange(f)
	if err != nil || int64(f.Len) < 0 || cmd != fop.LkSet && cmd != fop.LkSetWait || f.Type > fop.LockUnlock {
		return nil, fmt.Errorf("inodelk cmd %d type %d range %d+%d: %w", cmd, f.Type, int64(f.Start), int64(f.Len), syscall.EINVAL)
	}
	k := &domainLock{owner: who, family: inodelk, domain: domainName(domain, f), fd: fd, typ: f.Type,
		first: first, last: last, flock: f, pid: h.Cred.PID, wait: cmd == fop.LkSetWait}
	return l.domainLock(ctx, h, g, k, f.Type == fop.LockUnlock)
}

func (l *Locks) entrylk(ctx context.Context, h *fop.Header, g fop.GFID, fd *fop.Fd, domain, name string, cmd, typ uint32) (fop.Reply, error) {
	who, err := l.identity(h)
	if err != nil {
		return nil, err
	}
	if cmd > fop.EntrylkTry || typ > fop.LockWrite {
		return nil, fmt.Errorf("entrylk cmd %d type %d: %w", cmd, typ, syscall.EINVAL)
	}
	// The name is kept beyond the fop.
	k := &domainLock{owner: who, family: entrylk, domain: domain, fd: fd, typ: typ, name: strings.Clone(name),
		pid: h.Cred.PID, wait: cmd == fop.EntrylkLock}
	return l.domainLock(ctx, h, g, k, cmd == fop.EntrylkFree)
}

func (l *Locks) domainLock(ctx context.Context, h *fop.Header, g fop.GFID, k *domainLock, unlock bool) (fop.Reply, error) {
	var (
		w  *waiter
		no syscall.Errno
	)
	now := l.now()
	if unlock {
		no = syscall.EINVAL
		l.with(g, false, func(o *object, opt *options) { no = o.unlock(k, &opt.policy, now) })
	} else {
		if k.fd == nil {
			if err := l.exists(ctx, g); err != nil {
				return nil, err
			}
		}
		k.domain = strings.Clone(k.domain)
		l.with(g, true, func(o *object, opt *options) {
			if l.left(h.From) {
				no = syscall.ENOTCONN
				return
			}
			w, no = o.lock(k, &opt.policy, now)
		})
	}
	err := errno(no)
	if w != nil {
		err = l.await(ctx, g, w, func(o *object, opt *options) bool { return o.cancel(w, &opt.policy, l.now()) })
	}
	if l.opts.Load().trace {
		l.log.Info("lock", "volume", l.name, "gfid", g, "domain", k.domain, "unlock", unlock, "type", k.typ,
			"first", k.first, "last", k.last, "name", k.name, "owner", fmt.Sprintf("%x", k.id), "err", err)
	}
	if err != nil {
		return nil, err
	}
	reply := &fop.CommonReply{}
	if want, ok := wanted(h.XData); ok && l.mayTell(h, fop.OpInodelk) {
		reply.XData = l.fill(&want, g, nil)
	}
	return reply, nil
}

// exists reports ESTALE for an object that is not there. What has locks was there
// when it got the first.
func (l *Locks) exists(ctx context.Context, g fop.GFID) error {
	known := false
	l.with(g, false, func(*object, *options) { known = true })
	if known {
		return nil
	}
	_, err := l.next.Do(ctx, &fop.Stat{Header: fop.Header{Cred: internal}, GFID: g})
	if fop.Errno(err) == syscall.ENOENT {
		err = syscall.ESTALE
	}
	if err != nil {
		return fmt.Errorf("lock on %v: %w", g, err)
	}
	return nil
}

func (l *Locks) traced(r *fop.Lk, g fop.GFID, err error) {
	if l.opts.Load().trace {
		l.log.Info("posix lock", "volume", l.name, "gfid", g, "cmd", r.Cmd, "type", r.Flock.Type, "start", r.Flock.Start,
			"len", r.Flock.Len, "owner", fmt.Sprintf("%x", r.Cred.Owner), "err", err)
	}
}

// flush drops posix locks: those of the lock owner, or without one all of the fd.
func (l *Locks) flush(r *fop.Flush) error {
	g := fdGFID(r.GFID, r.Fd)
	if r.Cred.Owner == "" {
		l.releaseFd(g, r.Fd)
		return nil
	}
	who := owner{client: r.From, id: r.Cred.Owner}
	var err error
	l.with(g, false, func(o *object, _ *options) {
		if o.posix.migrated {
			err = fmt.Errorf("the locks of %v moved to another brick: %w", g, syscall.EREMOTE)
			return
		}
		o.posix.drop(0, func(k *posixLock) bool { return k.owner.is(who) }, nil)
	})
	return err
}

// releaseFd drops every posix lock taken through fd.
func (l *Locks) releaseFd(g fop.GFID, fd *fop.Fd) {
	if fd == nil {
		return
	}
	l.with(g, false, func(o *object, _ *options) {
		of := func(k *posixLock) bool { return k.fd == fd }
		o.posix.drop(syscall.EAGAIN, of, of)
	})
}

// disconnect drops everything that a client has.
func (l *Locks) disconnect(c *fop.Client) {
	if c == nil {
		return
	}
	c.Set(l, goneMark{})
	now := l.now()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		mine := make([]fop.GFID, 0, 8)
		for g, o := range s.objects {
			if o.uses(c) {
				mine = append(mine, g)
			}
		}
		s.mu.Unlock()
		for _, g := range mine {
			l.with(g, false, func(o *object, opt *options) { o.disconnect(c, &opt.policy, now) })
		}
	}
}

// uses reports whether anything here belongs to c.
func (o *object) uses(c *fop.Client) bool {
	if o.posix.meta == c {
		return true
	}
	for _, s := range [][]*posixLock{o.posix.granted, o.posix.blocked, o.posix.held} {
		for _, k := range s {
			if k.client == c {
				return true
			}
		}
	}
	for _, k := range o.queued {
		if k.client == c {
			return true
		}
	}
	for _, d := range o.domains {
		for _, k := range d.granted {
			if k.client == c {
				return true
			}
		}
		for _, k := range d.blocked {
			if k.client == c {
				return true
			}
		}
	}
	for _, r := range o.parked {
		if r.client == c {
			return true
		}
	}
	return false
}

func (o *object) disconnect(c *fop.Client, p *policy, now time.Time) {
	posix := func(k *posixLock) bool { return k.client == c }
	o.posix.drop(syscall.EAGAIN, posix, posix)
	if o.posix.meta == c {
		o.posix.replay()
	}
	mine := func(k *domainLock) bool { return k.client == c }
	o.drop(syscall.EAGAIN, mine, mine, p, now)
	parked := o.parked[:0]
	for _, r := range o.parked {
		if r.client == c {
			r.w.answer(syscall.ENOTCONN)
		} else {
			parked = append(parked, r)
		}
	}
	o.parked = parked
	o.settle(p, now)
}

// internal is on whose behalf this translator asks its child.
var internal = fop.Cred{PID: fop.PIDSelfHeal}

// removal carries out a fop that may remove an object, once no other client holds
// an inodelk on that.
func (l *Locks) removal(ctx context.Context, req fop.Request) (fop.Reply, error) {
	var dir fop.GFID
	var name string
	switch r := req.(type) {
	case *fop.Unlink:
		dir, name = r.Parent, r.Name
	case *fop.Rmdir:
		dir, name = r.Parent, r.Name
	case *fop.Rename:
		dir, name = r.NewParent, r.NewName
	}
	victim, err := fop.Call(ctx, l.next, &fop.Lookup{Header: fop.Header{Cred: internal}, Parent: dir, Name: name})
	if err != nil || victim.Stat.GFID.IsZero() {
		return l.pass(ctx, req) // nothing to remove, or the child says so itself
	}
	g := victim.Stat.GFID
	var w *waiter
	l.with(g, true, func(o *object, opt *options) { w = o.remove(req.Head().From, &opt.policy, l.now()) })
	if w != nil {
		if err := l.await(ctx, g, w, func(o *object, opt *options) bool {
			return o.cancelRemoval(w, &opt.policy, l.now())
		}); err != nil {
			return nil, err
		}
	}
	reply, err := l.pass(ctx, req)
	l.with(g, false, func(o *object, opt *options) { o.removed(&opt.policy, l.now()) })
	return reply, err
}
