package conformance

import (
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

func rootCase(s *suite) {
	r, err := fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.newHead(fop.RootGFID), GFID: fop.RootGFID})
	s.ok(err, "lookup of the root")
	if a := r.Stat; !a.IsDir() || !a.GFID.IsRoot() || a.Ino != 1 {
		s.Errorf("the root is %+v", a)
	}
	if a := s.stat(fop.RootGFID); !a.IsDir() || !a.GFID.IsRoot() || a.Ino != 1 {
		s.Errorf("stat of the root: %+v", a)
	}
}

func lookupCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	f := s.touch(d, "f", "abc")
	r, err := s.lookup(d, "f")
	s.ok(err, "lookup")
	if r.Stat.GFID != f || r.Stat.Size != 3 || !r.Stat.IsRegular() || r.Stat.Nlink != 1 || r.Stat.Ino != f.Ino() {
		s.Errorf("lookup of a file: %+v", r.Stat)
	}
	if r.Parent.GFID != d || !r.Parent.IsDir() {
		s.Errorf("parent: %+v", r.Parent)
	}
	r, err = fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(), GFID: f})
	s.ok(err, "lookup by gfid")
	if r.Stat.GFID != f || r.Stat.Size != 3 {
		s.Errorf("lookup by gfid: %+v", r.Stat)
	}
	s.absent(d, "none")
	_, err = s.lookup(f, "x")
	s.fails(err, "lookup in a file", syscall.ENOTDIR, syscall.EPERM, syscall.ESTALE)
	_, err = fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(), GFID: fop.NewGFID()})
	s.fails(err, "lookup of an unknown gfid", gone...)
	_, err = s.lookup(fop.NewGFID(), "x")
	s.fails(err, "lookup in an unknown directory", gone...)
}

func createCase(s *suite) {
	g := fop.NewGFID()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	before := s.stat(fop.RootGFID)
	r, err := fop.Call(s.ctx, s.h, &fop.Create{Header: s.newHead(g), Parent: fop.RootGFID, Name: "f", Flags: fop.ORdwr | fop.OCreate | fop.OExcl, Mode: fop.ModeRegular | 0o640, Fd: fd})
	s.ok(err, "create")
	s.open = append(s.open, fd)
	a := r.Stat
	if a.GFID != g || a.Ino != g.Ino() || a.Mode != fop.ModeRegular|0o640 || a.Nlink != 1 || a.Size != 0 {
		s.Errorf("create: %+v", a)
	}
	if !r.PreParent.GFID.IsRoot() || !r.PostParent.GFID.IsRoot() {
		s.Errorf("create reports parents %v and %v", r.PreParent.GFID, r.PostParent.GFID)
	}
	if r.PreParent.Mtime.Less(before.Mtime) && !s.opts.Distributed || r.PostParent.Mtime.Less(r.PreParent.Mtime) {
		s.Errorf("times of the parent run backwards: %v %v %v", before.Mtime, r.PreParent.Mtime, r.PostParent.Mtime)
	}
	s.write(fd, 0, "hello")
	s.contents(fd, "hello")
	_, _, err = s.tryCreate(fop.NewGFID(), "x", fop.ORdwr, 0o644)
	s.fails(err, "create in an unknown directory", gone...)
	_, _, err = s.tryCreate(g, "x", fop.ORdwr, 0o644)
	s.fails(err, "create in a file", syscall.ENOTDIR, syscall.EPERM, syscall.ESTALE)
}

func createExistingCase(s *suite) {
	f := s.touch(fop.RootGFID, "f", "old contents")
	s.mkdir(fop.RootGFID, "d")
	_, err := s.trySymlink(fop.RootGFID, "l", "f")
	s.ok(err, "symlink")

	_, _, err = s.tryCreate(fop.RootGFID, "f", fop.ORdwr|fop.OExcl, 0o600)
	s.fails(err, "exclusive create of a file", syscall.EEXIST)
	_, _, err = s.tryCreate(fop.RootGFID, "d", fop.ORdwr|fop.OExcl, 0o600)
	s.fails(err, "exclusive create of a directory", syscall.EEXIST)
	_, _, err = s.tryCreate(fop.RootGFID, "d", fop.ORdwr, 0o600)
	s.fails(err, "create of a directory", syscall.EISDIR, syscall.EEXIST)
	_, _, err = s.tryCreate(fop.RootGFID, "l", fop.ORdwr, 0o600)
	s.fails(err, "create through a symlink", syscall.ELOOP, syscall.EEXIST)

	r, fd, err := s.tryCreate(fop.RootGFID, "f", fop.ORdwr, 0o600)
	s.ok(err, "create of what exists")
	s.open = append(s.open, fd)
	if r.Stat.GFID != f || r.Stat.Mode != fop.ModeRegular|0o644 {
		s.Errorf("create of what exists gave %+v, want gfid %v and the old mode", r.Stat, f)
	}
	s.contents(fd, "old contents")
	r, fd, err = s.tryCreate(fop.RootGFID, "f", fop.ORdwr|fop.OTrunc, 0o600)
	s.ok(err, "create with O_TRUNC")
	s.open = append(s.open, fd)
	if r.Stat.GFID != f || r.Stat.Size != 0 {
		s.Errorf("create with O_TRUNC gave %+v", r.Stat)
	}
	s.contents(fd, "")
}

func gfidReqCase(s *suite) {
	none := s.head()
	_, err := fop.Call(s.ctx, s.h, &fop.Create{Header: none, Parent: fop.RootGFID, Name: "f", Flags: fop.OCreate | fop.ORdwr, Mode: 0o644, Fd: &fop.Fd{Flags: fop.ORdwr}})
	s.fails(err, "create without gfid-req", syscall.EINVAL, syscall.EPERM)
	_, err = fop.Call(s.ctx, s.h, &fop.Mkdir{Header: none, Parent: fop.RootGFID, Name: "d", Mode: 0o755})
	s.fails(err, "mkdir without gfid-req", syscall.EINVAL, syscall.EPERM)
	_, err = fop.Call(s.ctx, s.h, &fop.Mkdir{Header: s.newHead(fop.GFID{}), Parent: fop.RootGFID, Name: "d", Mode: 0o755})
	s.fails(err, "mkdir with a zero gfid-req", syscall.EINVAL, syscall.EPERM)
	_, err = fop.Call(s.ctx, s.h, &fop.Mknod{Header: none, Parent: fop.RootGFID, Name: "n", Mode: fop.ModeFIFO | 0o644})
	s.fails(err, "mknod without gfid-req", syscall.EINVAL, syscall.EPERM)
	_, err = fop.Call(s.ctx, s.h, &fop.Symlink{Header: none, Parent: fop.RootGFID, Name: "l", Target: "x"})
	s.fails(err, "symlink without gfid-req", syscall.EINVAL, syscall.EPERM)
	for _, name := range []string{"f", "d", "n", "l"} {
		s.absent(fop.RootGFID, name)
	}
}

func ownerCase(s *suite) {
	a, err := s.tryMkdir(fop.RootGFID, "open", 0o777)
	s.ok(err, "mkdir")
	s.cred.UID, s.cred.GID = 1234, 5678
	fd := s.create(a.GFID, "f")
	for what, got := range map[string]fop.Iatt{"file": s.stat(fd.GFID), "directory": s.stat(s.mkdir(a.GFID, "d"))} {
		if got.UID != 1234 || got.GID != 5678 {
			s.Errorf("%s belongs to %d:%d, want 1234:5678", what, got.UID, got.GID)
		}
	}
	r, err := s.trySymlink(a.GFID, "l", "f")
	s.ok(err, "symlink")
	if r.Stat.UID != 1234 || r.Stat.GID != 5678 {
		s.Errorf("symlink belongs to %d:%d", r.Stat.UID, r.Stat.GID)
	}
}

func setgidCase(s *suite) {
	a, err := s.tryMkdir(fop.RootGFID, "g", 0o777)
	s.ok(err, "mkdir")
	_, err = fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: a.GFID, Valid: fop.SetGID | fop.SetMode, Stat: fop.Iatt{GID: 42, Mode: 0o2777}})
	s.ok(err, "setattr")
	s.cred.UID, s.cred.GID = 1234, 5678
	if f := s.stat(s.create(a.GFID, "f").GFID); f.GID != 42 || f.Mode&fop.ModeSetgid != 0 {
		s.Errorf("file in a set-group-id directory: gid %d mode %o", f.GID, f.Mode)
	}
	if d := s.stat(s.mkdir(a.GFID, "d")); d.GID != 42 || d.Mode&fop.ModeSetgid == 0 {
		s.Errorf("directory in a set-group-id directory: gid %d mode %o", d.GID, d.Mode)
	}
}

func mkdirRmdirCase(s *suite) {
	a, err := s.tryMkdir(fop.RootGFID, "d", 0o751)
	s.ok(err, "mkdir")
	if a.Mode != fop.ModeDir|0o751 || a.GFID.IsZero() || a.Ino != a.GFID.Ino() {
		s.Errorf("mkdir: %+v", a)
	}
	_, err = s.tryMkdir(fop.RootGFID, "d", 0o755)
	s.fails(err, "mkdir of what exists", syscall.EEXIST)
	f := s.touch(a.GFID, "f", "")
	_, err = s.tryMkdir(a.GFID, "f", 0o755)
	s.fails(err, "mkdir over a file", syscall.EEXIST)
	_, err = s.tryMkdir(f, "x", 0o755)
	s.fails(err, "mkdir in a file", syscall.ENOTDIR, syscall.EPERM, syscall.ESTALE)

	s.fails(s.tryRmdir(fop.RootGFID, "d"), "rmdir of a full directory", syscall.ENOTEMPTY)
	s.fails(s.tryRmdir(a.GFID, "f"), "rmdir of a file", syscall.ENOTDIR)
	s.fails(s.tryRmdir(a.GFID, "none"), "rmdir of nothing", syscall.ENOENT)
	s.ok(s.tryUnlink(a.GFID, "f"), "unlink")
	s.ok(s.tryRmdir(fop.RootGFID, "d"), "rmdir")
	s.absent(fop.RootGFID, "d")
	_, err = fop.Call(s.ctx, s.h, &fop.Stat{Header: s.head(), GFID: a.GFID})
	s.fails(err, "stat of a removed directory", gone...)
}

func rmdirTreeCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	e := s.mkdir(d, "e")
	s.touch(e, "f", "x")
	s.touch(d, "g", "x")
	_, err := fop.Call(s.ctx, s.h, &fop.Rmdir{Header: s.head(), Parent: fop.RootGFID, Name: "d", Flags: 1})
	s.ok(err, "rmdir of a tree")
	s.absent(fop.RootGFID, "d")
	s.mkdir(fop.RootGFID, "d")
	s.absent(s.mustLookup(fop.RootGFID, "d").GFID, "e")
}

func mknodCase(s *suite) {
	type node struct {
		name  string
		mode  uint32
		rdev  uint64
		major uint32
		minor uint32
	}
	nodes := []node{
		{"file", fop.ModeRegular | 0o600, 0, 0, 0},
		{"fifo", fop.ModeFIFO | 0o644, 0, 0, 0},
		{"sock", fop.ModeSocket | 0o755, 0, 0, 0},
	}
	if s.opts.Devices {
		nodes = append(nodes, node{"null", fop.ModeChar | 0o666, 1<<8 | 3, 1, 3}, node{"disk", fop.ModeBlock | 0o660, 8<<8 | 17, 8, 17})
	}
	for _, n := range nodes {
		g := fop.NewGFID()
		r, err := fop.Call(s.ctx, s.h, &fop.Mknod{Header: s.newHead(g), Parent: fop.RootGFID, Name: n.name, Mode: n.mode, Rdev: n.rdev})
		s.ok(err, "mknod "+n.name)
		for _, a := range []fop.Iatt{r.Stat, s.mustLookup(fop.RootGFID, n.name)} {
			if a.GFID != g || a.Mode != n.mode || a.Nlink != 1 {
				s.Errorf("%s: %+v", n.name, a)
			}
			if n.major != 0 && (a.Major() != n.major || a.Minor() != n.minor) {
				s.Errorf("%s: device %d:%d, want %d:%d", n.name, a.Major(), a.Minor(), n.major, n.minor)
			}
		}
		_, err = fop.Call(s.ctx, s.h, &fop.Mknod{Header: s.newHead(fop.NewGFID()), Parent: fop.RootGFID, Name: n.name, Mode: n.mode})
		s.fails(err, "mknod of what exists", syscall.EEXIST)
		s.ok(s.tryUnlink(fop.RootGFID, n.name), "unlink "+n.name)
		s.absent(fop.RootGFID, n.name)
	}
}

func symlinkCase(s *suite) {
	for _, target := range []string{"x", "../some/where", "/absolute", strings.Repeat("t/", 500)} {
		r, err := s.trySymlink(fop.RootGFID, "l", target)
		s.ok(err, "symlink")
		if !r.Stat.IsSymlink() || int(r.Stat.Size) != len(target) || r.Stat.Nlink != 1 {
			s.Errorf("symlink: %+v", r.Stat)
		}
		rl, err := fop.Call(s.ctx, s.h, &fop.Readlink{Header: s.head(), GFID: r.Stat.GFID, Size: 4096})
		s.ok(err, "readlink")
		if rl.Target != target || rl.Stat.GFID != r.Stat.GFID {
			s.Errorf("readlink gave %q of %v", clip(rl.Target), rl.Stat.GFID)
		}
		if a := s.mustLookup(fop.RootGFID, "l"); !a.IsSymlink() {
			s.Error("lookup followed the link")
		}
		_, err = s.trySymlink(fop.RootGFID, "l", "other")
		s.fails(err, "symlink over what exists", syscall.EEXIST)
		_, err = s.tryOpen(r.Stat.GFID, fop.ORdonly, true)
		s.fails(err, "open of a symlink", syscall.ELOOP)
		s.ok(s.tryUnlink(fop.RootGFID, "l"), "unlink")
	}
	_, err := fop.Call(s.ctx, s.h, &fop.Readlink{Header: s.head(), GFID: s.touch(fop.RootGFID, "f", ""), Size: 4096})
	s.fails(err, "readlink of a file", syscall.EINVAL)
}

func linkCase(s *suite) {
	d := s.mkdir(fop.RootGFID, "d")
	f := s.touch(fop.RootGFID, "f", "one")
	r, err := s.tryLink(f, d, "second")
	s.ok(err, "link")
	if r.Stat.GFID != f || r.Stat.Nlink != 2 || r.PostParent.GFID != d {
		s.Errorf("link: %+v, parent %v", r.Stat, r.PostParent.GFID)
	}
	if a := s.mustLookup(d, "second"); a.GFID != f || a.Nlink != 2 {
		s.Errorf("second name: %+v", a)
	}
	_, err = s.tryLink(f, d, "second")
	s.fails(err, "link over what exists", syscall.EEXIST)
	_, err = s.tryLink(d, fop.RootGFID, "dirlink")
	s.fails(err, "link of a directory", syscall.EPERM)
	_, err = s.tryLink(fop.NewGFID(), fop.RootGFID, "x")
	s.fails(err, "link of an unknown gfid", gone...)

	// Writing through one name shows under the other.
	fd := s.openFile(f, fop.OWronly)
	s.write(fd, 0, "two")
	s.fileIs(s.mustLookup(d, "second").GFID, "two")

	s.ok(s.tryUnlink(fop.RootGFID, "f"), "unlink")
	s.nlink(f, 1)
	s.fileIs(f, "two")
	s.ok(s.tryUnlink(d, "second"), "unlink")
	s.absent(d, "second")

	l, err := s.trySymlink(fop.RootGFID, "l", "nowhere")
	s.ok(err, "symlink")
	_, err = s.tryLink(l.Stat.GFID, d, "l2")
	s.ok(err, "link of a symlink")
	s.nlink(l.Stat.GFID, 2)
}

func unlinkCase(s *suite) {
	f := s.touch(fop.RootGFID, "f", "x")
	s.mkdir(fop.RootGFID, "d")
	_, err := s.tryLink(f, fop.RootGFID, "second")
	s.ok(err, "link")
	// As 10.3 has it: the number of links before, but 0 for the last one.
	unlink := func(name string, count int64) *fop.RemoveReply {
		r, err := fop.Call(s.ctx, s.h, &fop.Unlink{Header: s.head(fop.Pair{Key: fop.KeyLinkCount, Val: fop.Uint(1)}), Parent: fop.RootGFID, Name: name})
		s.ok(err, "unlink "+name)
		if n := r.XData.Int(fop.KeyLinkCount); n != count {
			s.Errorf("%s after unlink of %s is %d, want %d", fop.KeyLinkCount, name, n, count)
		}
		return r
	}
	unlink("second", 2)
	r := unlink("f", 0)
	if !r.PreParent.GFID.IsRoot() || !r.PostParent.GFID.IsRoot() {
		s.Errorf("unlink reports parents %v and %v", r.PreParent.GFID, r.PostParent.GFID)
	}
	s.absent(fop.RootGFID, "f")
	_, err = fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(), GFID: f})
	s.fails(err, "lookup of a removed gfid", gone...)
	s.fails(s.tryUnlink(fop.RootGFID, "f"), "unlink of nothing", syscall.ENOENT)
	s.fails(s.tryUnlink(fop.RootGFID, "d"), "unlink of a directory", syscall.EISDIR, syscall.EPERM)
	s.fails(s.tryUnlink(fop.NewGFID(), "f"), "unlink in an unknown directory", gone...)
}

func unlinkOpenCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	s.write(fd, 0, "still here")
	s.ok(s.tryUnlink(fop.RootGFID, "f"), "unlink")
	s.absent(fop.RootGFID, "f")
	s.contents(fd, "still here")
	s.write(fd, 0, "STILL")
	s.contents(fd, "STILL here")
	r, err := fop.Call(s.ctx, s.h, &fop.Fstat{Header: s.head(), GFID: fd.GFID, Fd: fd})
	s.ok(err, "fstat of an unlinked file")
	if r.Stat.Nlink != 0 || r.Stat.Size != 10 || r.Stat.GFID != fd.GFID {
		s.Errorf("fstat of an unlinked file: %+v", r.Stat)
	}
	// The name is free for another object.
	other := s.touch(fop.RootGFID, "f", "new")
	if a := s.mustLookup(fop.RootGFID, "f"); a.GFID != other {
		s.Errorf("name leads to %v, want %v", a.GFID, other)
	}
	s.contents(fd, "STILL here")
	s.release(fd)
	// Clients do not wait for the answer to a release.
	s.vanishes("lookup after the last release", func() error {
		_, err := fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(), GFID: fd.GFID})
		return err
	})
}

// vanishes holds that what asks for an object fails because it is gone, a moment
// after the last release at the latest: clients do not wait for its answer, so that
// there is nothing to wait for but this.
func (s *suite) vanishes(what string, ask func() error) {
	err := ask()
	for limit := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(limit); err = ask() {
		time.Sleep(time.Millisecond)
	}
	s.fails(err, what, gone...)
}

func renameCase(s *suite) {
	d1, d2 := s.mkdir(fop.RootGFID, "d1"), s.mkdir(fop.RootGFID, "d2")
	f := s.touch(d1, "f", "data")

	r, err := s.tryRename(d1, "f", d2, "g")
	s.ok(err, "rename to another directory")
	if r.Stat.GFID != f || r.PreOldParent.GFID != d1 || r.PostOldParent.GFID != d1 || r.PreNewParent.GFID != d2 || r.PostNewParent.GFID != d2 {
		s.Errorf("rename: %+v", r)
	}
	s.absent(d1, "f")
	if a := s.mustLookup(d2, "g"); a.GFID != f || a.Nlink != 1 {
		s.Errorf("renamed file: %+v", a)
	}
	s.rename(d2, "g", d2, "g") // onto itself
	s.fileIs(s.mustLookup(d2, "g").GFID, "data")

	victim := s.touch(d2, "victim", "gone soon")
	s.rename(d2, "g", d2, "victim")
	if a := s.mustLookup(d2, "victim"); a.GFID != f {
		s.Errorf("after rename over a file: %+v", a)
	}
	// A release that nobody waits for keeps it for a moment.
	s.vanishes("stat of a file renamed over", func() error {
		_, err := fop.Call(s.ctx, s.h, &fop.Stat{Header: s.head(), GFID: victim})
		return err
	})

	// A directory keeps what is in it.
	e := s.mkdir(d1, "e")
	s.touch(e, "inner", "in")
	s.rename(d1, "e", d2, "e2")
	if a := s.mustLookup(d2, "e2"); a.GFID != e {
		s.Errorf("renamed directory: %+v", a)
	}
	s.fileIs(s.mustLookup(e, "inner").GFID, "in")
	if r, err := s.lookup(e, ".."); err == nil && r.Stat.GFID != d2 {
		s.Errorf(".. of a moved directory leads to %v, want %v", r.Stat.GFID, d2)
	}

	empty := s.mkdir(fop.RootGFID, "empty")
	full := s.mkdir(fop.RootGFID, "full")
	s.touch(full, "x", "")
	file := s.touch(fop.RootGFID, "file", "")
	for _, c := range []struct {
		what   string
		d1     fop.GFID
		n1     string
		d2     fop.GFID
		n2     string
		errnos []syscall.Errno
	}{
		{"a missing name", d1, "none", d1, "x", []syscall.Errno{syscall.ENOENT}},
		{"from an unknown directory", fop.NewGFID(), "x", d1, "x", gone},
		{"into an unknown directory", fop.RootGFID, "file", fop.NewGFID(), "x", gone},
		{"a file over a directory", fop.RootGFID, "file", fop.RootGFID, "empty", []syscall.Errno{syscall.EISDIR, syscall.EEXIST}},
		{"a directory over a file", fop.RootGFID, "empty", fop.RootGFID, "file", []syscall.Errno{syscall.ENOTDIR}},
		{"a directory over a full one", fop.RootGFID, "empty", fop.RootGFID, "full", []syscall.Errno{syscall.ENOTEMPTY, syscall.EEXIST}},
		{"a directory into itself", fop.RootGFID, "full", full, "x2", []syscall.Errno{syscall.EINVAL}},
		{"into a file", fop.RootGFID, "full", file, "x", []syscall.Errno{syscall.ENOTDIR, syscall.EPERM, syscall.ESTALE}},
	} {
		_, err := s.tryRename(c.d1, c.n1, c.d2, c.n2)
		s.fails(err, "rename: "+c.what, c.errnos...)
	}
	for name, g := range map[string]fop.GFID{"empty": empty, "full": full, "file": file} {
		if a := s.mustLookup(fop.RootGFID, name); a.GFID != g {
			s.Errorf("a failed rename changed %s", name)
		}
	}
	s.mustLookup(full, "x") // reached by its handle still

	s.rename(fop.RootGFID, "full", fop.RootGFID, "empty")
	if a := s.mustLookup(fop.RootGFID, "empty"); a.GFID != full {
		s.Errorf("after rename over an empty directory: %+v", a)
	}
	s.mustLookup(full, "x")

	// Two names of one object: nothing happens.
	_, err = s.tryLink(file, fop.RootGFID, "file2")
	s.ok(err, "link")
	s.rename(fop.RootGFID, "file", fop.RootGFID, "file2")
	if s.mustLookup(fop.RootGFID, "file").GFID != file || s.mustLookup(fop.RootGFID, "file2").GFID != file {
		s.Error("rename between two names of one object changed something")
	}
}

func renameOverOpenCase(s *suite) {
	fd := s.create(fop.RootGFID, "target")
	s.write(fd, 0, "old")
	s.touch(fop.RootGFID, "source", "new")
	s.rename(fop.RootGFID, "source", fop.RootGFID, "target")
	s.contents(fd, "old")
	s.fileIs(s.mustLookup(fop.RootGFID, "target").GFID, "new")

	moved := s.create(fop.RootGFID, "a")
	s.write(moved, 0, "1")
	s.rename(fop.RootGFID, "a", fop.RootGFID, "b")
	s.write(moved, 1, "2")
	s.fileIs(s.mustLookup(fop.RootGFID, "b").GFID, "12")
}

func namesCase(s *suite) {
	for _, name := range []string{
		strings.Repeat("n", 255), "with space", "new\nline", "\xff\xfe not UTF-8", "…", "-", "a:b*?\"<>|\\", ".hidden", "...", "tab\t",
	} {
		g := s.touch(fop.RootGFID, name, "x")
		if a := s.mustLookup(fop.RootGFID, name); a.GFID != g {
			s.Errorf("%q leads to %v", name, a.GFID)
		}
	}
	long := strings.Repeat("n", 256)
	_, err := s.lookup(fop.RootGFID, long)
	s.fails(err, "lookup of 256 bytes", syscall.ENAMETOOLONG)
	_, _, err = s.tryCreate(fop.RootGFID, long, fop.ORdwr, 0o644)
	s.fails(err, "create of 256 bytes", syscall.ENAMETOOLONG)
	_, err = s.tryMkdir(fop.RootGFID, long, 0o755)
	s.fails(err, "mkdir of 256 bytes", syscall.ENAMETOOLONG)

	bad := []syscall.Errno{syscall.EPERM, syscall.ESTALE, syscall.EINVAL}
	_, err = s.lookup(fop.RootGFID, "a/b")
	s.fails(err, "lookup of a name with a slash", bad...)
	_, err = s.tryMkdir(fop.RootGFID, "a/b", 0o755)
	s.fails(err, "mkdir of a name with a slash", bad...)
	for _, name := range []string{".", ".."} {
		if _, err := s.tryMkdir(fop.RootGFID, name, 0o755); err == nil {
			s.Errorf("mkdir %s succeeded", name)
		}
		if err := s.tryRmdir(s.mkdir(fop.RootGFID, "d"+name), name); err == nil {
			s.Errorf("rmdir %s succeeded", name)
		}
		s.mustLookup(fop.RootGFID, "d"+name)
	}
	_, err = s.lookup(fop.RootGFID, ".glusterfs")
	s.fails(err, "lookup of .glusterfs", syscall.EPERM, syscall.ENOENT)
	_, err = s.tryMkdir(fop.RootGFID, ".glusterfs", 0o755)
	s.fails(err, "mkdir .glusterfs", syscall.EPERM, syscall.EEXIST)
	if err := s.tryRmdir(fop.RootGFID, ".glusterfs"); err == nil {
		s.Error("rmdir .glusterfs succeeded")
	}
}

func goneCase(s *suite) {
	g := fop.NewGFID()
	for _, req := range []fop.Request{
		&fop.Stat{GFID: g}, &fop.Truncate{GFID: g}, &fop.Setattr{GFID: g, Valid: fop.SetMode}, &fop.Readlink{GFID: g, Size: 10},
		&fop.Getxattr{GFID: g, Name: "user.x"}, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "user.x", Val: fop.Str("1")})},
		&fop.Removexattr{GFID: g, Name: "user.x"}, &fop.Access{GFID: g, Mask: 4}, &fop.StatfsReq{GFID: g},
		&fop.Open{GFID: g, Fd: &fop.Fd{GFID: g}, Now: true}, &fop.Opendir{GFID: g, Fd: &fop.Fd{GFID: g, Dir: true}},
		&fop.Read{GFID: g, Size: 10}, &fop.Write{GFID: g, Data: []byte("x")},
	} {
		if req.Op() == fop.OpStatfs && s.opts.Distributed {
			continue // of what is no directory, the root's is taken
		}
		req.Head().Cred = s.cred
		_, err := s.h.Do(s.ctx, req)
		s.fails(err, req.Op().String()+" of an unknown gfid", gone...)
	}
}

func parentTimesCase(s *suite) {
	d, e := s.mkdir(fop.RootGFID, "d"), s.mkdir(fop.RootGFID, "e")
	old := fop.Time{Sec: 1_000_000_000}
	set := func(g fop.GFID) {
		_, err := fop.Call(s.ctx, s.h, &fop.Setattr{Header: s.head(), GFID: g, Valid: fop.SetAtime | fop.SetMtime, Stat: fop.Iatt{Atime: old, Mtime: old}})
		s.ok(err, "setattr")
	}
	for _, step := range []struct {
		what string
		do   func()
		dirs []fop.GFID
	}{
		{"create", func() { s.touch(d, "f", "") }, []fop.GFID{d}},
		{"mkdir", func() { s.mkdir(d, "sub") }, []fop.GFID{d}},
		{"link", func() { _, err := s.tryLink(s.mustLookup(d, "f").GFID, e, "f2"); s.ok(err, "link") }, []fop.GFID{e}},
		{"rename", func() { s.rename(d, "f", e, "g") }, []fop.GFID{d, e}},
		{"unlink", func() { s.ok(s.tryUnlink(e, "g"), "unlink") }, []fop.GFID{e}},
		{"rmdir", func() { s.ok(s.tryRmdir(d, "sub"), "rmdir") }, []fop.GFID{d}},
	} {
		set(d)
		set(e)
		step.do()
		for _, g := range step.dirs {
			if a := s.stat(g); !old.Less(a.Mtime) {
				s.Errorf("%s left the mtime of the directory alone", step.what)
			}
		}
	}
}
