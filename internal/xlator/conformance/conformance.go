// Package conformance is one suite of fop-level behaviour that every stack of
// translators with a brick at its bottom must pass: mem, posix, locks over
// either, a client talking to a server. It asserts what GlusterFS 10.3's bricks
// do, errnos included; where two layers of GlusterFS differ (a brick's server
// refuses an unknown gfid with ESTALE, posix with ENOENT) either is taken.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t *testing.T) fop.Handler { return mem.NewFS(nil) }, conformance.Options{})
//	}
//
// Each case is a subtest with a fresh, empty volume of its own, so that a case
// can be run alone: -run TestConformance/rename.
package conformance

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Options say what a stack offers beyond the common core.
type Options struct {
	// Locks: posix locks (Lk) work.
	Locks bool
	// Devices: character and block nodes can be made.
	Devices bool
	// Distributed: files of one directory lie on several bricks, and so does the
	// directory. A reply about a file then has the directory's attributes of one
	// brick, a listing has no attributes of directories, and the end of a listing
	// may be known only with the next page.
	Distributed bool
	// WriteBehind: a write may be answered before it is done, and then without
	// attributes.
	WriteBehind bool
	// Skip names cases that cannot apply, each with the reason.
	Skip map[string]string
}

// cases is filled by the files of this package.
var cases = []struct {
	name string
	run  func(*suite)
}{
	{"root", rootCase},
	{"lookup", lookupCase},
	{"create", createCase},
	{"createExisting", createExistingCase},
	{"gfidReq", gfidReqCase},
	{"owner", ownerCase},
	{"setgid", setgidCase},
	{"mkdirRmdir", mkdirRmdirCase},
	{"rmdirTree", rmdirTreeCase},
	{"mknod", mknodCase},
	{"symlink", symlinkCase},
	{"link", linkCase},
	{"unlink", unlinkCase},
	{"unlinkOpen", unlinkOpenCase},
	{"rename", renameCase},
	{"renameOverOpen", renameOverOpenCase},
	{"names", namesCase},
	{"gone", goneCase},
	{"parentTimes", parentTimesCase},

	{"readWrite", readWriteCase},
	{"anonymousFd", anonymousFdCase},
	{"append", appendCase},
	{"openErrors", openErrorsCase},
	{"truncate", truncateCase},
	{"sparse", sparseCase},
	{"fallocate", fallocateCase},
	{"zerofill", zerofillCase},
	{"copyRange", copyRangeCase},
	{"rchecksum", rchecksumCase},
	{"syncFlush", syncFlushCase},
	{"writeXData", writeXDataCase},
	{"setattr", setattrCase},
	{"setattrTimes", setattrTimesCase},
	{"statfs", statfsCase},

	{"xattr", xattrCase},
	{"xattrFlags", xattrFlagsCase},
	{"xattrReserved", xattrReservedCase},
	{"xattrReply", xattrReplyCase},
	{"removexattrBulk", removexattrBulkCase},
	{"xattrop", xattropCase},
	{"lookupXData", lookupXDataCase},
	{"createXattrs", createXattrsCase},

	{"readdir", readdirCase},
	{"readdirp", readdirpCase},
	{"readdirEmpty", readdirEmptyCase},
	{"readdirWhileChanging", readdirChangingCase},
	{"readdirBig", readdirBigCase},

	{"parallelCreate", parallelCreateCase},
	{"parallelMix", parallelMixCase},
	{"parallelIO", parallelIOCase},
	{"parallelXattrop", parallelXattropCase},

	{"locks", locksCase},
	{"locksSplit", locksSplitCase},
	{"locksWait", locksWaitCase},
	{"locksFlush", locksFlushCase},
}

// Run runs the suite over stacks made by fresh, each with an empty volume.
func Run(t *testing.T, fresh func(t *testing.T) fop.Handler, opts Options) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if why := opts.Skip[c.name]; why != "" {
				t.Logf("does not apply: %s", why)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := &suite{T: t, ctx: ctx, h: fresh(t), opts: opts, cred: fop.Cred{PID: 4711, Owner: "ownerA"}}
			c.run(s)
			for _, fd := range slices.Clone(s.open) {
				s.release(fd)
			}
		})
	}
}

// suite is one case at work.
type suite struct {
	*testing.T
	ctx  context.Context
	h    fop.Handler
	opts Options
	cred fop.Cred
	open []*fop.Fd
}

// head makes the header of a request.
func (s *suite) head(pairs ...fop.Pair) fop.Header {
	h := fop.Header{Cred: s.cred}
	if len(pairs) > 0 {
		h.XData = fop.NewDict(pairs...)
	}
	return h
}

// newHead makes the header of a request that makes an object.
func (s *suite) newHead(g fop.GFID, pairs ...fop.Pair) fop.Header {
	return s.head(append([]fop.Pair{{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)}}, pairs...)...)
}

// ok fails the case if err is not nil.
func (s *suite) ok(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// fails checks that err is one of these errnos.
func (s *suite) fails(err error, what string, want ...syscall.Errno) {
	s.Helper()
	if err == nil {
		s.Errorf("%s succeeded, want %v", what, want)
		return
	}
	var e syscall.Errno
	if !errors.As(err, &e) || !slices.Contains(want, e) {
		s.Errorf("%s: %v (errno %d), want %v", what, err, int(e), want)
	}
}

// Errnos of an object that is gone: posix says the first, a server the second.
var gone = []syscall.Errno{syscall.ENOENT, syscall.ESTALE}

func (s *suite) lookup(dir fop.GFID, name string) (*fop.LookupReply, error) {
	return fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(), Parent: dir, Name: name})
}

func (s *suite) mustLookup(dir fop.GFID, name string) fop.Iatt {
	s.Helper()
	r, err := s.lookup(dir, name)
	s.ok(err, "lookup "+name)
	return r.Stat
}

func (s *suite) absent(dir fop.GFID, name string) {
	s.Helper()
	_, err := s.lookup(dir, name)
	s.fails(err, "lookup "+name, syscall.ENOENT)
}

func (s *suite) stat(g fop.GFID) fop.Iatt {
	s.Helper()
	r, err := fop.Call(s.ctx, s.h, &fop.Stat{Header: s.head(), GFID: g})
	s.ok(err, "stat")
	return r.Stat
}

func (s *suite) tryMkdir(dir fop.GFID, name string, mode uint32) (fop.Iatt, error) {
	r, err := fop.Call(s.ctx, s.h, &fop.Mkdir{Header: s.newHead(fop.NewGFID()), Parent: dir, Name: name, Mode: mode})
	if err != nil {
		return fop.Iatt{}, err
	}
	return r.Stat, nil
}

func (s *suite) mkdir(dir fop.GFID, name string) fop.GFID {
	s.Helper()
	a, err := s.tryMkdir(dir, name, 0o755)
	s.ok(err, "mkdir "+name)
	return a.GFID
}

func (s *suite) tryCreate(dir fop.GFID, name string, flags, mode uint32) (*fop.CreateReply, *fop.Fd, error) {
	g := fop.NewGFID()
	fd := &fop.Fd{GFID: g, Flags: flags, PID: s.cred.PID}
	r, err := fop.Call(s.ctx, s.h, &fop.Create{Header: s.newHead(g), Parent: dir, Name: name, Flags: flags | fop.OCreate, Mode: mode, Fd: fd})
	if err != nil {
		return r, nil, err
	}
	fd.GFID = r.Stat.GFID
	return r, fd, nil
}

// create makes a file and keeps it open until the case ends.
func (s *suite) create(dir fop.GFID, name string) *fop.Fd {
	s.Helper()
	_, fd, err := s.tryCreate(dir, name, fop.ORdwr|fop.OExcl, 0o644)
	s.ok(err, "create "+name)
	s.open = append(s.open, fd)
	return fd
}

// touch makes a closed file with these contents.
func (s *suite) touch(dir fop.GFID, name, data string) fop.GFID {
	s.Helper()
	fd := s.create(dir, name)
	if data != "" {
		s.write(fd, 0, data)
	}
	s.release(fd)
	return fd.GFID
}

func (s *suite) openFile(g fop.GFID, flags uint32) *fop.Fd {
	s.Helper()
	fd, err := s.tryOpen(g, flags, false)
	s.ok(err, "open")
	return fd
}

// tryOpen opens a file; now asks for the brick's word.
func (s *suite) tryOpen(g fop.GFID, flags uint32, now bool) (*fop.Fd, error) {
	fd := &fop.Fd{GFID: g, Flags: flags, PID: s.cred.PID}
	_, err := fop.Call(s.ctx, s.h, &fop.Open{Header: s.head(), GFID: g, Flags: flags, Fd: fd, Now: now})
	if err == nil {
		s.open = append(s.open, fd)
	}
	return fd, err
}

func (s *suite) opendir(g fop.GFID) *fop.Fd {
	s.Helper()
	fd := &fop.Fd{GFID: g, Dir: true, PID: s.cred.PID}
	_, err := fop.Call(s.ctx, s.h, &fop.Opendir{Header: s.head(), GFID: g, Fd: fd})
	s.ok(err, "opendir")
	s.open = append(s.open, fd)
	return fd
}

func (s *suite) release(fd *fop.Fd) {
	s.Helper()
	s.open = slices.DeleteFunc(s.open, func(o *fop.Fd) bool { return o == fd })
	var err error
	if fd.Dir {
		_, err = fop.Call(s.ctx, s.h, &fop.Releasedir{Header: s.head(), GFID: fd.GFID, Fd: fd})
	} else {
		_, err = fop.Call(s.ctx, s.h, &fop.Release{Header: s.head(), GFID: fd.GFID, Fd: fd})
	}
	if err != nil {
		s.Errorf("release: %v", err)
	}
}

func (s *suite) write(fd *fop.Fd, off uint64, data string) *fop.WriteReply {
	s.Helper()
	r, err := fop.Call(s.ctx, s.h, &fop.Write{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, Data: []byte(data)})
	s.ok(err, "write")
	if int(r.Size) != len(data) {
		s.Fatalf("write reports %d bytes of %d", r.Size, len(data))
	}
	return r
}

func (s *suite) read(fd *fop.Fd, off uint64, size uint32) *fop.ReadReply {
	s.Helper()
	r, err := fop.Call(s.ctx, s.h, &fop.Read{Header: s.head(), GFID: fd.GFID, Fd: fd, Offset: off, Size: size})
	s.ok(err, "read")
	return r
}

func (s *suite) contents(fd *fop.Fd, want string) {
	s.Helper()
	if got := s.read(fd, 0, uint32(len(want)+1)); string(got.Data) != want {
		s.Errorf("contents %q, want %q", clip(string(got.Data)), clip(want))
	}
}

func (s *suite) fileIs(g fop.GFID, want string) {
	s.Helper()
	fd := s.openFile(g, fop.ORdonly)
	s.contents(fd, want)
	s.release(fd)
}

func clip(b string) string {
	if len(b) > 60 {
		return b[:60] + "…"
	}
	return b
}

func (s *suite) tryUnlink(dir fop.GFID, name string) error {
	_, err := fop.Call(s.ctx, s.h, &fop.Unlink{Header: s.head(), Parent: dir, Name: name})
	return err
}

func (s *suite) tryRmdir(dir fop.GFID, name string) error {
	_, err := fop.Call(s.ctx, s.h, &fop.Rmdir{Header: s.head(), Parent: dir, Name: name})
	return err
}

func (s *suite) tryRename(d1 fop.GFID, n1 string, d2 fop.GFID, n2 string) (*fop.RenameReply, error) {
	return fop.Call(s.ctx, s.h, &fop.Rename{Header: s.head(), OldParent: d1, OldName: n1, NewParent: d2, NewName: n2})
}

func (s *suite) rename(d1 fop.GFID, n1 string, d2 fop.GFID, n2 string) {
	s.Helper()
	_, err := s.tryRename(d1, n1, d2, n2)
	s.ok(err, "rename "+n1+" "+n2)
}

func (s *suite) tryLink(g, dir fop.GFID, name string) (*fop.EntryReply, error) {
	return fop.Call(s.ctx, s.h, &fop.Link{Header: s.head(), GFID: g, Parent: dir, Name: name})
}

func (s *suite) trySymlink(dir fop.GFID, name, target string) (*fop.EntryReply, error) {
	return fop.Call(s.ctx, s.h, &fop.Symlink{Header: s.newHead(fop.NewGFID()), Parent: dir, Name: name, Target: target})
}

// nlink checks the link count of an object.
func (s *suite) nlink(g fop.GFID, want uint32) {
	s.Helper()
	if n := s.stat(g).Nlink; n != want {
		s.Errorf("nlink %d, want %d", n, want)
	}
}
