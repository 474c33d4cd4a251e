package proto

import (
	"encoding/binary"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xdr"
)

// Sizes of attributes in the two versions.
const (
	iattSize    = 148
	oldIattSize = 100
)

// decoder reads the parts of messages of one version.
type decoder struct {
	xdr.Decoder
	v          Version
	ret, errno int32
	payload    uint32 // length that the message claims
	split      []byte // payload that came apart from the message
	apart      bool   // split is meant, even if nil
	fd         FdRefs
}

func newDecoder(v Version, body []byte) decoder {
	return decoder{Decoder: xdr.NewDecoder(body), v: v}
}

// takePayload returns the payload that stands behind the message, or apart.
func (d *decoder) takePayload() []byte {
	if d.Err() != nil {
		return nil
	}
	if d.apart {
		if uint64(len(d.split)) != uint64(d.payload) {
			d.Fail(xdr.ErrInvalid)
			return nil
		}
		return d.split
	}
	if uint64(d.Len()) != uint64(d.payload) {
		d.Fail(xdr.ErrInvalid)
		return nil
	}
	return d.Bytes(d.Len())
}

func appendIatt(b []byte, v Version, a *fop.Iatt) []byte {
	if v < V400 {
		return appendOldIatt(b, a)
	}
	return appendNewIatt(b, a)
}

func appendNewIatt(b []byte, a *fop.Iatt) []byte {
	b = append(b, a.GFID[:]...)
	for _, n := range [12]uint64{
		a.Flags, a.Ino, a.Dev, a.Rdev, a.Size, a.Blocks, a.Attributes, a.AttributesMask,
		uint64(a.Atime.Sec), uint64(a.Mtime.Sec), uint64(a.Ctime.Sec), uint64(a.Btime.Sec),
	} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, n := range [9]uint32{
		a.Atime.Nsec, a.Mtime.Nsec, a.Ctime.Nsec, a.Btime.Nsec, a.Nlink, a.UID, a.GID, a.Blksize, a.Mode,
	} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func appendOldIatt(b []byte, a *fop.Iatt) []byte {
	b = append(b, a.GFID[:]...)
	b = xdr.AppendUint64(b, a.Ino)
	b = xdr.AppendUint64(b, a.Dev)
	b = xdr.AppendUint32(b, a.Mode)
	b = xdr.AppendUint32(b, a.Nlink)
	b = xdr.AppendUint32(b, a.UID)
	b = xdr.AppendUint32(b, a.GID)
	b = xdr.AppendUint64(b, a.Rdev)
	b = xdr.AppendUint64(b, a.Size)
	b = xdr.AppendUint32(b, a.Blksize)
	b = xdr.AppendUint64(b, a.Blocks)
	for _, t := range [3]fop.Time{a.Atime, a.Mtime, a.Ctime} {
		b = xdr.AppendUint32(b, uint32(t.Sec))
		b = xdr.AppendUint32(b, t.Nsec)
	}
	return b
}

func (d *decoder) iatt(a *fop.Iatt) {
	if d.v < V400 {
		d.oldIatt(a)
	} else {
		d.newIatt(a)
	}
}

func (d *decoder) newIatt(a *fop.Iatt) {
	b := d.Bytes(iattSize)
	if b == nil {
		return
	}
	be64, be32 := binary.BigEndian.Uint64, binary.BigEndian.Uint32
	a.GFID = fop.GFID(b)
	a.Flags = be64(b[16:])
	a.Ino = be64(b[24:])
	a.Dev = be64(b[32:])
	a.Rdev = be64(b[40:])
	a.Size = be64(b[48:])
	a.Blocks = be64(b[56:])
	a.Attributes = be64(b[64:])
	a.AttributesMask = be64(b[72:])
	a.Atime = fop.Time{Sec: int64(be64(b[80:])), Nsec: be32(b[112:])}
	a.Mtime = fop.Time{Sec: int64(be64(b[88:])), Nsec: be32(b[116:])}
	a.Ctime = fop.Time{Sec: int64(be64(b[96:])), Nsec: be32(b[120:])}
	a.Btime = fop.Time{Sec: int64(be64(b[104:])), Nsec: be32(b[124:])}
	a.Nlink = be32(b[128:])
	a.UID = be32(b[132:])
	a.GID = be32(b[136:])
	a.Blksize = be32(b[140:])
	a.Mode = be32(b[144:])
}

// oldIatt reads attributes of version 330. They do not say which of them are
// valid: all are if there is a GFID.
func (d *decoder) oldIatt(a *fop.Iatt) {
	b := d.Bytes(oldIattSize)
	if b == nil {
		return
	}
	be64, be32 := binary.BigEndian.Uint64, binary.BigEndian.Uint32
	a.GFID = fop.GFID(b)
	a.Ino = be64(b[16:])
	a.Dev = be64(b[24:])
	a.Mode = be32(b[32:])
	a.Nlink = be32(b[36:])
	a.UID = be32(b[40:])
	a.GID = be32(b[44:])
	a.Rdev = be64(b[48:])
	a.Size = be64(b[56:])
	a.Blksize = be32(b[64:])
	a.Blocks = be64(b[68:])
	a.Atime = fop.Time{Sec: int64(be32(b[76:])), Nsec: be32(b[80:])}
	a.Mtime = fop.Time{Sec: int64(be32(b[84:])), Nsec: be32(b[88:])}
	a.Ctime = fop.Time{Sec: int64(be32(b[92:])), Nsec: be32(b[96:])}
	if !a.GFID.IsZero() {
		a.Flags = fop.IattAll
	}
}

// appendNoIatts appends n empty attributes that only version 400 has.
func appendNoIatts(b []byte, v Version, n int) []byte {
	if v < V400 {
		return b
	}
	return append(b, make([]byte, n*iattSize)...)
}

func (d *decoder) skipIatts(n int) {
	if d.v >= V400 {
		d.Skip(n * iattSize)
	}
}

func appendFlock(b []byte, l *fop.Flock) []byte {
	b = xdr.AppendUint32(b, l.Type)
	b = xdr.AppendUint32(b, l.Whence)
	b = xdr.AppendUint64(b, l.Start)
	b = xdr.AppendUint64(b, l.Len)
	b = xdr.AppendUint32(b, l.PID)
	return xdr.AppendString(b, l.Owner)
}

func (d *decoder) flock(l *fop.Flock) {
	l.Type = d.Uint32()
	l.Whence = d.Uint32()
	l.Start = d.Uint64()
	l.Len = d.Uint64()
	l.PID = d.Uint32()
	l.Owner = d.String(maxOwner)
}

func appendLeaseInfo(b []byte, l *fop.LeaseInfo) []byte {
	b = xdr.AppendUint32(b, l.Cmd)
	b = xdr.AppendUint32(b, l.Type)
	b = append(b, l.ID[:]...)
	return xdr.AppendUint32(b, l.Flags)
}

func (d *decoder) leaseInfo(l *fop.LeaseInfo) {
	l.Cmd = d.Uint32()
	l.Type = d.Uint32()
	d.FixedInto(l.ID[:])
	l.Flags = d.Uint32()
}

func appendStatfs(b []byte, s *fop.Statfs) []byte {
	for _, n := range [11]uint64{
		s.Bsize, s.Frsize, s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree, s.Favail, s.Fsid, s.Flag, s.Namemax,
	} {
		b = xdr.AppendUint64(b, n)
	}
	return b
}

func (d *decoder) statfs(s *fop.Statfs) {
	for _, p := range [11]*uint64{
		&s.Bsize, &s.Frsize, &s.Blocks, &s.Bfree, &s.Bavail, &s.Files, &s.Ffree, &s.Favail, &s.Fsid, &s.Flag, &s.Namemax,
	} {
		*p = d.Uint64()
	}
}

// more reads the word before each element of a linked list.
func (d *decoder) more(have int) bool {
	if !d.Bool() {
		return false
	}
	if have >= maxEntries {
		d.Fail(xdr.ErrLimit)
		return false
	}
	return true
}

func appendLocks(b []byte, locks []fop.LockInfo) []byte {
	for i := range locks {
		b = xdr.AppendUint32(b, 1)
		b = appendFlock(b, &locks[i].Flock)
		b = xdr.AppendString(b, locks[i].ClientUID)
		b = xdr.AppendUint32(b, locks[i].Flags)
	}
	return xdr.AppendUint32(b, 0)
}

func (d *decoder) locks() (locks []fop.LockInfo) {
	for d.more(len(locks)) {
		var l fop.LockInfo
		d.flock(&l.Flock)
		l.ClientUID = d.String(maxName)
		l.Flags = d.Uint32()
		locks = append(locks, l)
	}
	return locks
}

func appendPrograms(b []byte, progs []Program) []byte {
	for i := range progs {
		b = xdr.AppendUint32(b, 1)
		b = xdr.AppendString(b, progs[i].Name)
		b = xdr.AppendUint64(b, progs[i].Prog)
		b = xdr.AppendUint64(b, progs[i].Vers)
	}
	return xdr.AppendUint32(b, 0)
}

func (d *decoder) programs() (progs []Program) {
	for d.more(len(progs)) {
		progs = append(progs, Program{d.String(maxName), d.Uint64(), d.Uint64()})
	}
	return progs
}

func hasName(s string) uint32 {
	if s != "" {
		return 1
	}
	return 0
}

// nameLen is the length word of ENTRYLK, which says only whether there is a name.
func nameLen(n uint64, name string) uint64 {
	if n == 0 && name != "" {
		return 1
	}
	return n
}
