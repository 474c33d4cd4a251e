//go:build linux

package posix

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

// virtual answers for attributes that are not on disk; ok is false for all
// others.
func (b *Brick) virtual(h *fop.Header, p *place, name string) (reply *fop.XattrReply, err error, ok bool) {
	text := func(s string, err error) (*fop.XattrReply, error, bool) {
		if err == nil && s == "" {
			err = syscall.ENODATA
		}
		if err != nil {
			return nil, err, true
		}
		r, err := oneValue(name, fop.Str(s), len(s)+1)
		return r, err, true
	}
	opt := b.opt.Load()
	g, dir := p.in.gfid, isDir(&p.st)
	const realName = "glusterfs.get_real_filename:"
	switch {
	case isACLText(name):
		a := b.iattOf(p.Obj, &p.st, p.in)
		return text(b.aclText(&target{Obj: p.Obj, stat: &a, in: p.in}, name))
	case strings.HasPrefix(name, realName):
		return text(b.realName(g, dir, name[len(realName):]))
	case name == fop.KeyOpenFdCount:
		r, err := oneValue(name, fop.Uint(min(p.in.open(), 1)), 4)
		return r, err, true
	case isPathinfo(name):
		host := opt.hostname
		if opt.nodeUUIDPathinfo && opt.glusterdUUID != "" {
			host = opt.glusterdUUID
		}
		path := "/" + brickfs.Meta + "/" + brickfs.Handle(g)
		if all := b.paths(p.Obj, g, dir); len(all) > 0 {
			path = all[0]
		}
		return text(fmt.Sprintf("<POSIX(%s):%s:%s%s>", b.dir, host, b.dir, path), nil)
	case name == fop.KeyNodeUUID:
		return text(opt.glusterdUUID, nil)
	case name == "glusterfs.gfid2path":
		if all := b.paths(p.Obj, g, dir); len(all) > 0 {
			return text(all[0], nil)
		}
		return text("", nil)
	case name == "glusterfs.gfidtopath":
		if !opt.gfid2path {
			return text("", nil)
		}
		return text(strings.Join(b.paths(p.Obj, g, dir), opt.separator), nil)
	case name == "glusterfs.ancestry.path":
		return text(strings.Join(b.paths(p.Obj, g, dir), ":"), nil)
	case name == "trusted.glusterfs.get-signature":
		reply, err = b.signature(p)
		return reply, err, true
	}
	return nil, nil, false
}

// signature collects what bit-rot detection has stored.
func (b *Brick) signature(p *place) (*fop.XattrReply, error) {
	const version, sign = "trusted.bit-rot.version", "trusted.bit-rot.signature"
	v, err := b.attrs.Value(p.Obj, version)
	if err != nil {
		return nil, err
	}
	s, err := b.attrs.Value(p.Obj, sign)
	if err != nil {
		return nil, err
	}
	return &fop.XattrReply{Size: int32(len(s)), Dict: fop.NewDict(
		fop.Pair{Key: version, Val: fop.Bytes(v)}, fop.Pair{Key: sign, Val: fop.Bytes(s)},
		fop.Pair{Key: "trusted.glusterfs.bit-rot.size", Val: fop.Uint(uint64(len(s)))})}, nil
}

// dirPath returns the path of a directory from the root of the volume, by the
// handles.
func (b *Brick) dirPath(g fop.GFID) (string, error) {
	var names []string
	for n := 0; g != fop.RootGFID; n++ {
		parent, name, err := b.readDirHandle(g)
		if err != nil {
			return "", err
		}
		if n > 1<<16 {
			return "", syscall.ELOOP
		}
		names = append(names, name)
		g = parent
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/"), nil
}

// paths returns the paths of all names of an object, as far as they are known.
func (b *Brick) paths(o brickfs.Obj, g fop.GFID, dir bool) (all []string) {
	if dir {
		if path, err := b.dirPath(g); err == nil {
			all = append(all, path)
		}
		return all
	}
	names, _ := b.attrs.List(o)
	slices.Sort(names)
	for _, key := range names {
		if !strings.HasPrefix(key, fop.XattrGFID2Path) {
			continue
		}
		v, err := b.attrs.Value(o, key)
		if err != nil {
			continue
		}
		if parent, name, ok := brickfs.ParseBackPointer(key, v); ok {
			if path, err := b.dirPath(parent); err == nil {
				all = append(all, strings.TrimSuffix(path, "/")+"/"+name)
			}
		}
	}
	return all
}

// realName finds the entry whose name equals the wanted one but for case.
func (b *Brick) realName(g fop.GFID, dir bool, want string) (string, error) {
	if !dir {
		return "", syscall.ENOTDIR
	}
	fd, err := b.openList(g)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), want)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1024)
		for _, n := range names {
			if equalFoldASCII(n, want) && !(g == fop.RootGFID && n == brickfs.Meta) {
				return n, nil
			}
		}
		if err != nil {
			return "", syscall.ENODATA
		}
	}
}

func equalFoldASCII(a, b string) bool {
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// ancestors lists the directories from the root down to g in place of the
// entries of g.
func (b *Brick) ancestors(h *fop.Header, g fop.GFID) (*fop.ReaddirReply, error) {
	reply := &fop.ReaddirReply{EOF: true}
	for at, name := g, ""; len(reply.Entries) < 1<<16; {
		parent := at
		if at == fop.RootGFID {
			name = "/"
		} else {
			var err error
			if parent, name, err = b.readDirHandle(at); err != nil {
				return nil, syscall.ESTALE
			}
		}
		d, err := b.directory(at)
		if err != nil {
			return nil, syscall.ESTALE
		}
		e := fop.Dirent{Name: name, Type: unix.DT_DIR, Ino: at.Ino()}
		in := b.inodes.get(at)
		if e.Stat, err = b.iattDir(d); err == nil {
			e.XData = b.fill(h.XData, &target{Obj: brickfs.At(d.fd, "."), stat: &e.Stat, in: in})
		}
		b.inodes.put(in)
		d.put()
		if err != nil {
			return nil, err
		}
		reply.Entries = append(reply.Entries, e)
		if at == fop.RootGFID {
			break
		}
		at = parent
	}
	slices.Reverse(reply.Entries)
	for i := range reply.Entries {
		reply.Entries[i].Off = uint64(i + 1)
	}
	return reply, nil
}
