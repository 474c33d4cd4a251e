package gfidaccess

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	keyNewFile = "glusterfs.gfid.newfile"
	keyHeal    = "glusterfs.gfid.heal"
)

// newFile is the value of glusterfs.gfid.newfile: numbers of 32 bits, big-endian,
// and texts that end with a NUL.
//
//	uid, gid, gfid (36 characters), mode with the type, name, then
//	  of a directory:      permissions, umask
//	  of a symbolic link:  target
//	  of all else:         permissions, device number, umask
type newFile struct {
	uid, gid    uint32
	gfid        fop.GFID
	mode        uint32
	name        string
	permissions uint32
	device      uint32
	umask       uint32
	target      string
}

// reader takes a value apart; bad stays set after the first thing that is missing.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint32 {
	if len(r.b) < 4 {
		r.bad = true
		return 0
	}
	n := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return n
}

func (r *reader) text() string {
	i := bytes.IndexByte(r.b, 0)
	if i < 0 {
		r.bad = true
		return ""
	}
	s := string(r.b[:i])
	r.b = r.b[i+1:]
	return s
}

func (r *reader) gfid() fop.GFID {
	g, err := fop.ParseGFID(r.text())
	if err != nil || g.IsZero() {
		r.bad = true
	}
	return g
}

// name is a name in a directory.
func (r *reader) name() string {
	s := r.text()
	if s == "" || s == "." || s == ".." || strings.Contains(s, "/") {
		r.bad = true
	}
	return s
}

// end reports whether all was there and nothing is left.
func (r *reader) end() bool { return !r.bad && len(r.b) == 0 }

func parseNewFile(b []byte) (n newFile, ok bool) {
	r := &reader{b: b}
	n = newFile{uid: r.number(), gid: r.number(), gfid: r.gfid(), mode: r.number(), name: r.name()}
	switch n.mode & fop.ModeFmt {
	case fop.ModeDir:
		n.permissions, n.umask = r.number(), r.number()
	case fop.ModeSymlink:
		n.target = r.text()
	case fop.ModeRegular, fop.ModeBlock, fop.ModeChar, fop.ModeFIFO, fop.ModeSocket:
		n.permissions, n.device, n.umask = r.number(), r.number(), r.number()
	default:
		r.bad = true
	}
	return n, r.end()
}

// parseHeal reads the value of glusterfs.gfid.heal: the GFID, as text, and the name,
// each with a NUL.
func parseHeal(b []byte) (g fop.GFID, name string, ok bool) {
	r := &reader{b: b}
	g, name = r.gfid(), r.name()
	return g, name, r.end()
}

// make does what the xattrs that are none ask for.
func (a *access) make(ctx context.Context, r *fop.Setxattr) (fop.Reply, error) {
	// GlusterFS lets anybody make files of anybody.
	if r.Cred.UID != 0 {
		return nil, fmt.Errorf("setxattr %s, %s: only root may: %w", keyNewFile, keyHeal, syscall.EPERM)
	}
	dir := real(r.GFID)
	if b := r.Dict.Bytes(keyHeal); r.Dict.Has(keyHeal) {
		g, name, ok := parseHeal(b)
		if !ok {
			return nil, fmt.Errorf("setxattr %s: %d bytes that are no GFID and a name: %w", keyHeal, len(b), syscall.EINVAL)
		}
		_, err := fop.Call(ctx, a.child, &fop.Lookup{Header: fop.Header{Cred: r.Cred, XData: request(g)}, Parent: dir, Name: name})
		return done(err)
	}
	b := r.Dict.Bytes(keyNewFile)
	n, ok := parseNewFile(b)
	if !ok {
		return nil, fmt.Errorf("setxattr %s: %d bytes that do not tell what to make: %w", keyNewFile, len(b), syscall.EINVAL)
	}
	h := fop.Header{Cred: r.Cred, XData: request(n.gfid)}
	h.Cred.UID, h.Cred.GID = n.uid, n.gid
	if n.uid != r.Cred.UID {
		h.Cred.Groups = nil
	}
	var err error
	mode := n.permissions & 0o7777 &^ n.umask
	switch n.mode & fop.ModeFmt {
	case fop.ModeDir:
		_, err = fop.Call(ctx, a.child, &fop.Mkdir{Header: h, Parent: dir, Name: n.name, Mode: mode, Umask: n.umask})
	case fop.ModeSymlink:
		_, err = fop.Call(ctx, a.child, &fop.Symlink{Header: h, Parent: dir, Name: n.name, Target: n.target})
	default:
		_, err = fop.Call(ctx, a.child, &fop.Mknod{Header: h, Parent: dir, Name: n.name, Mode: n.mode&fop.ModeFmt | mode, Umask: n.umask, Rdev: uint64(n.device)})
	}
	return done(err)
}

func request(g fop.GFID) *fop.Dict {
	return fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})
}

func done(err error) (fop.Reply, error) {
	if err != nil {
		return nil, err
	}
	return &fop.CommonReply{}, nil
}
