//go:build linux

package posix

import (
	"encoding/binary"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// xattrop reads, changes and writes attributes in one step. Replicate, disperse
// and shard keep their counters with it.
func (b *Brick) xattrop(h *fop.Header, g fop.GFID, fd *fop.Fd, kind uint32, d *fop.Dict) (*fop.XattrReply, error) {
	switch kind {
	case fop.XattropAdd, fop.XattropAdd64, fop.XattropGetAndSet, fop.XattropAddDefault, fop.XattropAdd64Default:
	default:
		return nil, syscall.EINVAL
	}
	var p place
	if err := b.object(fd, g, &p); err != nil {
		return nil, err
	}
	defer b.leave(&p)
	reply := &fop.XattrReply{Dict: fop.NewDict()}
	p.in.op.Lock()
	err := b.xattropAll(&p, kind, d, reply)
	p.in.op.Unlock()
	if err != nil {
		return nil, err
	}
	if h.XData != nil {
		a := b.iattOf(p.Obj, &p.st, p.in)
		reply.XData = b.fill(h.XData, &target{Obj: p.Obj, stat: &a, in: p.in})
		if h.XData.Has("dht-get-mode-in-xattr") && isRegular(&p.st) {
			reply.XData.Set("dht-get-mode-in-xattr", fop.Int(int64(a.Mode)))
		}
	}
	return reply, nil
}

func (b *Brick) xattropAll(p *place, kind uint32, d *fop.Dict, reply *fop.XattrReply) error {
	for _, pair := range d.Pairs() {
		if !nameSpace(pair.Key) {
			return syscall.ENOTSUP
		}
		if pair.Key == fop.XattrGFID || pair.Key == fop.KeyVolumeID {
			return syscall.EPERM
		}
		arg := pair.Val.Bytes()
		old, err := b.attrs.Value(p.Obj, pair.Key)
		if err != nil && err != syscall.ENODATA {
			return err
		}
		now, write := combine(kind, arg, old)
		if write {
			b.at("xattrop.set")
			if err := b.attrs.Set(p.Obj, pair.Key, now, 0); err != nil {
				return err
			}
			if pair.Key == fop.XattrMdata {
				p.in.forgetTimes()
			}
		}
		if kind != fop.XattropGetAndSet {
			reply.Dict.Set(pair.Key, fop.Bytes(now))
		} else if err == nil {
			reply.Dict.Set(pair.Key, fop.Bytes(old))
		}
	}
	return nil
}

// combine computes the new value of an attribute, nil old meaning that there is
// none, and whether it has to be written: an operand of zeros only reads.
func combine(kind uint32, arg, old []byte) (now []byte, write bool) {
	if kind == fop.XattropGetAndSet {
		return arg, true
	}
	n, size := len(arg), 4
	var defaults []byte
	switch kind {
	case fop.XattropAdd64:
		size = 8
	case fop.XattropAddDefault, fop.XattropAdd64Default:
		n /= 2
		defaults = arg[n:]
		if kind == fop.XattropAdd64Default {
			size = 8
		}
	}
	now = make([]byte, n)
	copy(now, old)
	zero := true
	for _, c := range arg {
		zero = zero && c == 0
	}
	if zero {
		return now, false
	}
	for i := 0; i+size <= n; i += size {
		if size == 4 {
			v := binary.BigEndian.Uint32(now[i:])
			if v == 0 && defaults != nil {
				v = binary.BigEndian.Uint32(defaults[i:])
			}
			binary.BigEndian.PutUint32(now[i:], v+binary.BigEndian.Uint32(arg[i:]))
		} else {
			v := binary.BigEndian.Uint64(now[i:])
			if v == 0 && defaults != nil {
				v = binary.BigEndian.Uint64(defaults[i:])
			}
			binary.BigEndian.PutUint64(now[i:], v+binary.BigEndian.Uint64(arg[i:]))
		}
	}
	return now, true
}
