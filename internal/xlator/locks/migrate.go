package locks

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Locks move in two ways: from an open file to the one that replaces it, when a
// client changes its graph (lockinfo), and from brick to brick with a file that
// rebalance moves (active locks, under a meta lock).

const (
	keyLockinfo   = "trusted.glusterfs.lockinfo"
	keyMetaLock   = "glusterfs.lock-migration-meta-lock"
	keyMetaUnlock = "glusterfs.lock-migration-meta-unlock"
)

// openFile is what an Fd remembers here.
type openFile struct {
	id   uint64       // for lockinfo
	heal []*posixLock // still to be listed by LkGetFd
}

func (l *Locks) openFile(fd *fop.Fd) *openFile {
	return fd.GetOrSet(l, func() any { return &openFile{id: l.fdIDs.Add(1)} }).(*openFile)
}

// lockinfo tells the id under which another open file can take over the locks of
// this one: a dictionary of the old serialization with one pair.
func (l *Locks) lockinfo(ctx context.Context, r *fop.Fgetxattr) (fop.Reply, error) {
	g := fdGFID(r.GFID, r.Fd)
	has := false
	l.with(g, false, func(o *object, _ *options) {
		for _, k := range o.posix.granted {
			has = has || r.Fd != nil && k.fd == r.Fd
		}
	})
	reply := &fop.XattrReply{Dict: &fop.Dict{}}
	if has {
		id := strconv.FormatUint(l.openFile(r.Fd).id, 10) + "\x00"
		b := appendDict1(nil, l.lockinfoKey(ctx), id)
		reply.Dict.Set(keyLockinfo, fop.Bytes(b))
		reply.Size = int32(len(b))
	}
	return reply, nil
}

// lockinfoKey names this brick in a lockinfo dictionary.
func (l *Locks) lockinfoKey(ctx context.Context) string {
	s := l.pathinfo(ctx)
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		return s[:i]
	}
	return l.host + ":" + l.name
}

// adopt moves the locks of the open file that info names to fd.
func (l *Locks) adopt(ctx context.Context, g fop.GFID, fd *fop.Fd, c *fop.Client, info []byte) error {
	val, err := findDict1(info, l.lockinfoKey(ctx))
	if err != nil || val == "" {
		return err // of another brick only: nothing to do
	}
	id, err := strconv.ParseUint(strings.TrimSuffix(val, "\x00"), 10, 64)
	if err != nil {
		return fmt.Errorf("lockinfo id %q: %w", val, syscall.EINVAL)
	}
	l.with(g, false, func(o *object, _ *options) {
		if l.left(c) {
			return
		}
		for _, k := range o.posix.granted {
			if k.fd == nil {
				continue
			}
			if of, ok := k.fd.Get(l).(*openFile); ok && of.id == id {
				k.fd, k.client = fd, c
			}
		}
	})
	return nil
}

// appendDict1 appends a dictionary of one pair: be32 count, then be32 key and
// value length, the key, NUL, the value.
func appendDict1(b []byte, key, val string) []byte {
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(val)))
	b = append(b, key...)
	b = append(b, 0)
	return append(b, val...)
}

// findDict1 returns the value of key in such a dictionary of any size, "" if it
// has none. The error is EINVAL.
func findDict1(b []byte, key string) (string, error) {
	bad := fmt.Errorf("lockinfo is not a dictionary: %w", syscall.EINVAL)
	if len(b) < 4 {
		return "", bad
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	for ; n > 0; n-- {
		if len(b) < 8 {
			return "", bad
		}
		kn, vn := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
		b = b[8:]
		if kn+1+vn > uint64(len(b)) {
			return "", bad
		}
		if string(b[:kn]) == key {
			return string(b[kn+1 : kn+1+vn]), nil
		}
		b = b[kn+1+vn:]
	}
	return "", nil
}

// getFdLocks is LkGetFd: each call returns another lock of the open file, and
// after the last one a lock of type LockEOL.
func (l *Locks) getFdLocks(r *fop.Lk) (fop.Reply, error) {
	if r.Fd == nil {
		return nil, fmt.Errorf("listing locks without an open file: %w", syscall.EBADF)
	}
	f := fop.Flock{Type: fop.LockEOL}
	of := l.openFile(r.Fd)
	l.with(fdGFID(r.GFID, r.Fd), true, func(o *object, _ *options) {
		if of.heal == nil {
			of.heal = []*posixLock{}
			for _, k := range o.posix.granted {
				if k.fd == r.Fd {
					of.heal = append(of.heal, k)
				}
			}
		}
		if len(of.heal) == 0 {
			of.heal = nil
			return
		}
		f = of.heal[0].flock()
		of.heal = of.heal[1:]
	})
	return l.counted(r, &fop.LkReply{Flock: f}), nil
}

func (l *Locks) getactivelk(r *fop.Getactivelk) fop.Reply {
	reply := &fop.GetactivelkReply{}
	l.with(r.GFID, false, func(o *object, _ *options) {
		o.posix.exported = o.posix.meta != nil
		for _, k := range o.posix.granted {
			uid := k.uid
			if k.client != nil {
				uid = k.client.ID
			}
			reply.Locks = append(reply.Locks, fop.LockInfo{Flock: k.flock(), ClientUID: uid, Flags: k.flags})
		}
	})
	return reply
}

func (l *Locks) setactivelk(r *fop.Setactivelk) (fop.Reply, error) {
	locks := make([]*posixLock, 0, len(r.Locks))
	for _, in := range r.Locks {
		first, last, err := lockRange(in.Flock)
		if err != nil || in.Flock.Type > fop.LockWrite {
			return nil, fmt.Errorf("lock to install: type %d range %d+%d: %w", in.Flock.Type, int64(in.Flock.Start), int64(in.Flock.Len), syscall.EINVAL)
		}
		locks = append(locks, &posixLock{
			owner: owner{uid: strings.Clone(in.ClientUID), id: strings.Clone(in.Flock.Owner)},
			typ:   in.Flock.Type, first: first, last: last, flags: in.Flags,
			mandatory: in.Flags&flagMandatory != 0, pid: in.Flock.PID, at: l.now(),
		})
	}
	l.with(r.GFID, true, func(o *object, _ *options) {
		o.posix.migrated = false
		for _, k := range locks {
			o.posix.insert(k)
		}
	})
	return &fop.CommonReply{}, nil
}

func rebalanceOnly(h *fop.Header) error {
	if h.Cred.PID != fop.PIDRebalance {
		return fmt.Errorf("meta locks are for rebalance only: %w", syscall.EINVAL)
	}
	return nil
}

// metaLock holds new posix locks back while those there are copied.
func (l *Locks) metaLock(g fop.GFID, h *fop.Header) error {
	if err := rebalanceOnly(h); err != nil {
		return err
	}
	if h.From == nil {
		return fmt.Errorf("meta lock without a client: %w", syscall.EINVAL)
	}
	var err error
	l.with(g, true, func(o *object, _ *options) {
		switch {
		case l.left(h.From):
			err = syscall.ENOTCONN
		case o.posix.meta != nil:
			err = fmt.Errorf("%v has a meta lock already: %w", g, syscall.EINVAL)
		default:
			o.posix.meta = h.From
		}
	})
	return err
}

// metaUnlock ends that. If the locks were copied they live on the other brick now,
// and who was held back is sent there.
func (l *Locks) metaUnlock(g fop.GFID, h *fop.Header) error {
	if err := rebalanceOnly(h); err != nil {
		return err
	}
	err := fmt.Errorf("%v has no meta lock of this client: %w", g, syscall.EINVAL)
	l.with(g, false, func(o *object, _ *options) {
		t := &o.posix
		if t.meta == nil || t.meta != h.From {
			return
		}
		err = nil
		if !t.exported || len(t.granted) == 0 {
			t.replay()
			return
		}
		for _, s := range [][]*posixLock{t.blocked, t.held} {
			for _, k := range s {
				k.w.answer(syscall.EREMOTE)
			}
		}
		*t = posixTable{migrated: true, rev: t.rev + 1}
	})
	return err
}
