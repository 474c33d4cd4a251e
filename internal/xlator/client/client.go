package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// Client is the translator.
type Client struct {
	name   string
	log    *slog.Logger
	notify func(fop.Event)
	env    *xlator.Env
	set    atomic.Pointer[settings]
	moved  chan struct{} // the port of the brick has changed

	leaf, leaves int // for the offsets of directories

	link    atomic.Pointer[link]  // the brick, while it is up
	why     atomic.Pointer[error] // why link is nil
	locking atomic.Bool           // some file may have had a lock; until then a flush is ours to answer

	late  sync.WaitGroup // goroutines that wait for replies nobody waits for
	waits lockWaits

	mu       sync.Mutex
	files    map[*openFile]struct{} // to open again after a reconnect
	volumeID string                 // as the brick said first
	connects int                    // SETVOLUMEs sent
	xid      uint32                 // the next one
}

// link is a way to the brick: a connection, or the brick itself if it runs in
// this process.
type link struct {
	rpc   *rpc.Client
	vers  proto.Version
	local fop.Handler
	lost  chan struct{} // with local: closed when the brick is gone
	gone  sync.Once
}

var (
	_ fop.Starter         = (*Client)(nil)
	_ xlator.Runner       = (*Client)(nil)
	_ xlator.Reconfigurer = (*Client)(nil)
	_ xlator.Closer       = (*Client)(nil)
	_ xlator.Dumper       = (*Client)(nil)
	_ xlator.Caller       = (*Client)(nil)
)

var errNotYet = errors.New("not connected yet")

// New makes the translator. It connects in Run.
func New(cfg xlator.Config) (fop.Handler, error) {
	s, err := parse(cfg.Options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", cfg.Name, err, syscall.EINVAL)
	}
	c := &Client{name: cfg.Name, log: cfg.Log, notify: cfg.Notify, env: cfg.Env, files: make(map[*openFile]struct{}), moved: make(chan struct{}, 1),
		leaf: cfg.Leaf, leaves: cfg.Leaves}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.notify == nil {
		c.notify = func(fop.Event) {}
	}
	if c.env == nil {
		c.env = new(xlator.Env)
	}
	c.volumeID = s.raw["volume-id"]
	c.set.Store(s)
	c.why.Store(&errNotYet)
	return c, nil
}

// Reconfigure takes new options. Those that a connection is made of need a new
// graph.
func (c *Client) Reconfigure(o xlator.Options) error {
	s, err := parse(o)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.name, err, syscall.EINVAL)
	}
	old := c.set.Load()
	if !s.lasting(old) {
		return fmt.Errorf("%s: another brick, or another kind of connection to it: %w", c.name, syscall.EBUSY)
	}
	c.set.Store(s)
	if s.port != old.port {
		select {
		case c.moved <- struct{}{}:
		default:
		}
	}
	return nil
}

// Close waits for the last replies; Run has ended.
func (c *Client) Close() error {
	c.late.Wait()
	return nil
}

// Do carries out a fop on the brick.
func (c *Client) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	k, reply, err := c.begin(ctx, req)
	if k == nil {
		return reply, err
	}
	return k.Wait()
}

// Start sends a fop to the brick.
func (c *Client) Start(ctx context.Context, req fop.Request) fop.Pending {
	if l := c.link.Load(); l != nil && l.local != nil {
		if s, ok := l.local.(fop.Starter); ok && !needsOwner(req) {
			return &localPending{c, l, s.Start(ctx, c.offsetDown(req))}
		}
		return fop.Start(ctx, fop.HandlerFunc(c.Do), req)
	}
	k, reply, err := c.begin(ctx, req)
	if k == nil {
		return settled{reply, err}
	}
	return k
}

// settled is a fop that needed no brick, or got none.
type settled struct {
	reply fop.Reply
	err   error
}

func (s settled) Wait() (fop.Reply, error) { return s.reply, s.err }

// call is a fop under way. It is reused, so that a fop costs no allocation but
// that of its reply.
type call struct {
	c    *Client
	l    *link
	ctx  context.Context
	req  fop.Request
	fds  proto.FdRefs
	held held
	rpc  rpc.Request
	cred rpc.Cred
	own  [8]byte
	gid  [1]uint32
	sent *rpc.Pending
}

var calls = sync.Pool{New: func() any { return new(call) }}

// AppendXDR encodes the request; begin has made sure that it can be.
func (k *call) AppendXDR(b []byte) []byte {
	b, _, _ = proto.AppendRequest(b, k.l.vers, k.req, k.fds)
	return b
}

// begin sends req. Without a call to wait for, the outcome is there already.
func (c *Client) begin(ctx context.Context, req fop.Request) (*call, fop.Reply, error) {
	op := req.Op()
	l := c.link.Load()
	switch op {
	case fop.OpRelease, fop.OpReleasedir:
		return c.release(ctx, l, req)
	case fop.OpDisconnect:
		return nil, &fop.CommonReply{}, nil // is between a server and its bricks
	}
	if l == nil {
		c.unheard(ctx, req)
		return nil, nil, c.down(op)
	}
	if l.local != nil {
		reply, err := c.doLocal(ctx, l, req)
		return nil, reply, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("%v: %w", op, context.Cause(ctx))
	}
	set := c.set.Load()
	if set.noDirect {
		req = withoutDirect(req)
	}
	fds, hs, err := c.numbers(ctx, l, req)
	if err != nil {
		c.letGo(hs)
		return nil, nil, err
	}
	switch r := req.(type) {
	case *fop.Readdir, *fop.Readdirp:
		req = c.offsetDown(req)
	case *fop.Flush:
		// All that a brick does at a flush is to drop the owner's locks.
		if !c.locking.Load() {
			c.letGo(hs)
			return nil, &fop.CommonReply{}, nil
		}
	case *fop.Lk, *fop.Lease:
		c.locking.Store(true)
	case *fop.Fsetxattr:
		if r.Dict.Has(keyLockinfo) {
			c.locking.Store(true)
		}
	}
	k := c.send(ctx, l, set, req, fds)
	k.held = hs
	return k, nil, nil
}

// keyLockinfo is what moves locks from one graph's files to another's.
const keyLockinfo = "trusted.glusterfs.lockinfo"

// send encodes and sends req with the numbers of its open files.
func (c *Client) send(ctx context.Context, l *link, set *settings, req fop.Request, fds proto.FdRefs) *call {
	k := c.prepare(ctx, l, set, req, fds)
	k.sent = l.rpc.Start(&k.rpc)
	return k
}

// prepare makes the call that send sends.
func (c *Client) prepare(ctx context.Context, l *link, set *settings, req fop.Request, fds proto.FdRefs) *call {
	k := calls.Get().(*call)
	k.c, k.l, k.ctx, k.req, k.fds = c, l, ctx, req, fds
	k.setCred(req.Head(), set)
	k.rpc = rpc.Request{
		Prog: proto.ProgFop, Vers: uint32(l.vers), Proc: uint32(req.Op()),
		Cred: &k.cred, Args: k, Timeout: set.frameTimeout,
	}
	if set.frameTimeout == 0 || waits(req) {
		k.rpc.Timeout = -1
	}
	switch r := req.(type) {
	case *fop.Write:
		k.rpc.Payload = r.Data
	case *fop.Put:
		k.rpc.Payload = r.Data
	case *fop.Read:
		if len(r.Into) > 0 {
			k.rpc.Into = r.Into
			k.rpc.ReplyPrefix = proto.ReadReplyPrefix(l.vers)
			k.rpc.ReplySplit = splitRead400
			if l.vers < proto.V400 {
				k.rpc.ReplySplit = splitRead330
			}
		}
	}
	return k
}

func splitRead400(prefix []byte) int { return proto.ReadReplySplit(proto.V400, prefix) }
func splitRead330(prefix []byte) int { return proto.ReadReplySplit(proto.V330, prefix) }

// setCred fills in on whose behalf the fop is done.
func (k *call) setCred(h *fop.Header, set *settings) {
	cr := &h.Cred
	k.cred = rpc.Cred{Flavor: rpc.AuthGlusterV2, PID: cr.PID, UID: cr.UID, GID: cr.GID, Groups: cr.Groups}
	if !set.sendGIDs {
		k.gid[0] = cr.GID
		k.cred.Groups = k.gid[:]
	}
	if k.l.vers >= proto.V400 {
		k.cred.Flavor = rpc.AuthGlusterV3
		k.cred.TimeFlags, k.cred.CTimeSec, k.cred.CTimeNsec = h.Time.Flags, uint64(h.Time.Sec), h.Time.Nsec
	}
	switch {
	case cr.Owner == "":
		binary.LittleEndian.PutUint32(k.own[:], uint32(cr.PID))
		k.cred.LockOwner = k.own[:4]
	case len(cr.Owner) <= len(k.own):
		k.cred.LockOwner = k.own[:copy(k.own[:], cr.Owner)]
	default:
		k.cred.LockOwner = []byte(cr.Owner)
	}
}

// waits reports whether a fop may wait for a lock, for however long.
func waits(req fop.Request) bool {
	switch r := req.(type) {
	case *fop.Lk:
		return r.Cmd == fop.LkSetWait || r.Cmd == fop.LkResLckW
	case *fop.Inodelk:
		return r.Cmd == fop.LkSetWait
	case *fop.Finodelk:
		return r.Cmd == fop.LkSetWait
	case *fop.Entrylk:
		return r.Cmd == fop.EntrylkLock
	case *fop.Fentrylk:
		return r.Cmd == fop.EntrylkLock
	}
	return false
}

// withoutDirect takes O_DIRECT out of the flags of a request, on a copy.
func withoutDirect(req fop.Request) fop.Request {
	switch r := req.(type) {
	case *fop.Open:
		q := *r
		q.Flags &^= fop.ODirect
		return &q
	case *fop.Create:
		q := *r
		q.Flags &^= fop.ODirect
		return &q
	case *fop.Read:
		if r.Flags&fop.ODirect != 0 {
			q := *r
			q.Flags &^= fop.ODirect
			return &q
		}
	case *fop.Write:
		if r.Flags&fop.ODirect != 0 {
			q := *r
			q.Flags &^= fop.ODirect
			return &q
		}
	}
	return req
}

// Wait waits for the reply and ends the call's life.
func (k *call) Wait() (fop.Reply, error) {
	if key, ok := lockWaitOf(k.req); ok {
		return k.waitForLock(key)
	}
	if acquires(k.req) && k.ctx.Done() != nil {
		return k.waitOrReturn(nil)
	}
	reply, err := k.sent.Wait(k.ctx)
	return k.finish(reply, err)
}

// finish decodes the reply and does what belongs to it.
func (k *call) finish(raw rpc.Reply, err error) (fop.Reply, error) {
	reply, err := k.decode(&raw, err)
	c, hs := k.c, k.held
	err = c.after(k, reply, err)
	*k = call{}
	calls.Put(k)
	c.letGo(hs)
	return reply, err
}

func (k *call) decode(raw *rpc.Reply, err error) (fop.Reply, error) {
	op := k.req.Op()
	if err != nil {
		return nil, k.c.failed(op, err)
	}
	var reply fop.Reply
	var opErr, bad error
	if len(raw.Payload) > 0 {
		reply, opErr, bad = proto.DecodeReadReply(k.l.vers, raw.Body, raw.Payload)
	} else {
		reply, opErr, bad = proto.DecodeReply(k.l.vers, op, raw.Body)
	}
	if bad != nil {
		raw.Release()
		return nil, k.c.garbled(op, bad)
	}
	aliased := proto.Aliases(reply)
	if r, ok := k.req.(*fop.Read); ok && reply != nil {
		rr := reply.(*fop.ReadReply)
		if uint64(len(rr.Data)) > uint64(r.Size) {
			raw.Release()
			return nil, k.c.garbled(op, fmt.Errorf("%d bytes came where %d were asked for", len(rr.Data), r.Size))
		}
		if len(r.Into) > 0 {
			if len(raw.Payload) == 0 || &raw.Payload[0] != &r.Into[0] {
				rr.Data = r.Into[:copy(r.Into, rr.Data)]
			}
			aliased = rr.XData.Len() > 0
		}
	}
	if !aliased {
		raw.Release()
	}
	k.c.offsetsUp(reply)
	return reply, opErr
}

// down is the error of a fop without a brick.
func (c *Client) down(op fop.Op) error {
	return fmt.Errorf("%v: brick %s is not connected: %w: %w", op, c.set.Load().brick(), syscall.ENOTCONN, *c.why.Load())
}

// failed is the error of a fop that got no reply, or one of RPC.
func (c *Client) failed(op fop.Op, err error) error {
	return fmt.Errorf("%v: brick %s: %w", op, c.set.Load().brick(), err)
}

// garbled is the error of a fop whose reply is not one.
func (c *Client) garbled(op fop.Op, err error) error {
	err = fmt.Errorf("%v: brick %s sent a reply that cannot be read: %w: %w", op, c.set.Load().brick(), syscall.EPROTO, err)
	c.log.Error("bad reply", "err", err)
	return err
}
