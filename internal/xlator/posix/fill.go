//go:build linux

package posix

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// target is the object whose attributes a request's XData asks for.
type target struct {
	brickfs.Obj
	stat *fop.Iatt
	in   *inode // may be nil

	// gone says that the object was removed while its xattrs were read: without
	// them the attributes must not be told, for a linkto would look like a file.
	gone bool
}

// What list-xattr leaves out.
var notListed = []string{
	"trusted.gfid", "trusted.glusterfs.volume-id", "security.selinux", "trusted.glusterfs.quota.*",
	"trusted.glusterfs.*.xtime", "*.glusterfs.*.stime", "*.glusterfs.*.xtime", "*.glusterfs.lockinfo",
	"*.glusterfs.*.entry_stime", "*.glusterfs.volume-mark.*", "trusted.gfid2path.*",
}

// maxContent bounds a file whose contents come along with its attributes.
const maxContent = 1 << 20

// fill answers the keys of a request's XData: some have a meaning of their own,
// all others are patterns for the names of xattrs. The answer is nil only if
// there are no keys.
func (b *Brick) fill(req *fop.Dict, t *target) *fop.Dict {
	if req == nil {
		return nil
	}
	out := fop.NewDict()
	var few [16]string
	wanted, globs, linkto := few[:0], false, false
	list := false
	for _, p := range req.Pairs() {
		switch key := p.Key; key {
		case fop.KeyGFIDReq, fop.KeyInternalFop, fop.KeyEntrylkCount, fop.KeyInodelkCount, fop.KeyPosixlkCount,
			fop.KeyParentEntrylk, "gfidless-lookup", fop.KeyInodelkDomCount, "link-count":
		case fop.KeyListXattr:
			list = true
		case fop.KeyContent:
			b.fillContent(p.Val, t, out)
		case fop.KeyOpenFdCount, fop.KeyActiveFdCount:
			out.Set(key, fop.Uint(t.openFds()))
		case "get-size":
			if t.stat.IsRegular() {
				out.Set(key, fop.Uint(t.stat.Size))
			}
		case "gf_request_link_count":
			out.Set(key, p.Val)
		case "glusterfs.ancestry.path":
			if paths := b.paths(t.Obj, t.stat.GFID, t.stat.IsDir()); len(paths) > 0 {
				out.Set(key, fop.Str(strings.Join(paths, ":")))
			}
		case fop.XattrLinkto:
			// Asked for with every lookup and listing on distributed volumes, and it
			// counts only on a file whose mode says that it is a linkto, or that it
			// is being moved; both have this bit.
			if t.stat.Mode&unix.S_ISVTX != 0 {
				wanted, linkto = append(wanted, key), true
			}
		default:
			if isACLText(key) {
				if text, err := b.aclText(t, key); err == nil && text != "" {
					out.Set(key, fop.Str(text))
				}
				continue
			}
			glob := strings.ContainsAny(key, "*?[\\")
			if glob || nameSpace(key) {
				wanted = append(wanted, key)
				globs = globs || glob
			}
		}
	}
	switch {
	case list || globs || len(wanted) > 2:
		b.fillMatching(wanted, list, t, out)
	default:
		for _, key := range wanted {
			v, err := b.attrs.Value(t.Obj, key)
			if err == nil {
				out.Set(key, fop.Bytes(v))
			}
			t.gone = t.gone || err == syscall.ENOENT
		}
	}
	if linkto && !t.gone && !out.Has(fop.XattrLinkto) && t.stat.IsRegular() && t.stat.Mode&0o7777 == fop.ModeSticky {
		b.linktoAgain(t, out)
	}
	return out
}

// linktoAgain looks once more at what has the mode of a linkto and no such xattr.
// It may be one that is being made in the place of the one whose attributes were
// read; what has a gfid is complete.
func (b *Brick) linktoAgain(t *target, out *fop.Dict) {
	if g, err := b.gfidOf(t.Obj); err != nil || g != t.stat.GFID {
		t.gone = true
		return
	}
	v, err := b.attrs.Value(t.Obj, fop.XattrLinkto)
	if err == nil {
		out.Set(fop.XattrLinkto, fop.Bytes(v))
	}
	t.gone = err == syscall.ENOENT
}

// fillMatching answers patterns from the list of the object's attributes.
func (b *Brick) fillMatching(wanted []string, list bool, t *target, out *fop.Dict) {
	names, err := b.attrs.List(t.Obj)
	if err != nil {
		t.gone = err == syscall.ENOENT
		return
	}
	for _, name := range names {
		if !nameSpace(name) {
			continue
		}
		match := false
		for _, w := range wanted {
			if match = w == name || glob(w, name); match {
				break
			}
		}
		if !match && list {
			match = true
			for _, w := range notListed {
				if glob(w, name) {
					match = false
					break
				}
			}
		}
		if match && !out.Has(name) {
			v, err := b.attrs.Value(t.Obj, name)
			if err == nil {
				out.Append(name, fop.Bytes(v))
			}
			t.gone = t.gone || err == syscall.ENOENT
		}
	}
}

func (b *Brick) fillContent(limit fop.Value, t *target, out *fop.Dict) {
	n, _ := limit.Int()
	size := t.stat.Size
	if !t.stat.IsRegular() || uint64(n) < size || size > maxContent {
		return
	}
	if size == 0 {
		out.Set(fop.KeyContent, fop.Bytes([]byte{}))
		return
	}
	fd := t.Fd
	if fd < 0 {
		var err error
		if fd, err = brickfs.Openat(t.Dir, t.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		defer unix.Close(fd)
	}
	buf := make([]byte, size)
	if got, err := pread(fd, buf, 0); err == nil && uint64(got) == size {
		out.Set(fop.KeyContent, fop.Bytes(buf))
	}
}

func (t *target) openFds() uint64 {
	if t.in == nil {
		return 0
	}
	return t.in.open()
}

func (in *inode) open() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return uint64(max(in.fds, 0))
}

// fdCounts answers those keys of a write that ask for the number of open files.
func (b *Brick) fdCounts(req *fop.Dict, in *inode, out *fop.Dict) {
	for _, key := range [2]string{fop.KeyOpenFdCount, fop.KeyActiveFdCount} {
		if req.Has(key) {
			out.Set(key, fop.Uint(in.open()))
		}
	}
}
