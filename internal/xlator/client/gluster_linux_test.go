package client

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

// real starts a GlusterFS with a one-brick volume and returns how to connect to
// the brick.
func real(t *testing.T, options ...string) (g *testenv.Glusterd, brick string, connect func(t *testing.T, options ...string) *side) {
	g = testenv.Gluster(t)
	brick = testenv.LoopFS(t, "xfs", 512) + "/brick"
	g.Create(t, "data", brick)
	if len(options) > 0 {
		g.Set(t, "data", options...)
	}
	g.StartVolume(t, "data")
	return g, brick, func(t *testing.T, options ...string) *side {
		env := &xlator.Env{ProcessUUID: fop.NewGFID().String(), ProcessName: "test", Dial: g.DialContext}
		c := startClient(t, env, append([]string{"remote-host", g.IP, "remote-subvolume", brick}, options...)...)
		c.wait(fop.EventChildUp)
		return c
	}
}

// empty removes everything from the volume.
func empty(t *testing.T, h fop.Handler, dir fop.GFID) {
	t.Helper()
	fd := &fop.Fd{GFID: dir, Dir: true}
	if _, err := h.Do(bg, &fop.Opendir{GFID: dir, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	defer h.Do(bg, &fop.Releasedir{GFID: dir, Fd: fd})
	var all []fop.Dirent
	for off := uint64(0); ; {
		list, err := fop.Call(bg, h, &fop.Readdirp{GFID: dir, Fd: fd, Offset: off, Size: 100 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Entries) == 0 {
			break
		}
		all = append(all, list.Entries...)
		off = list.Entries[len(list.Entries)-1].Off
	}
	for _, e := range all {
		switch e.Name {
		case ".", "..", ".glusterfs", ".trashcan":
			continue
		}
		var err error
		if e.Stat.IsDir() {
			empty(t, h, e.Stat.GFID)
			_, err = h.Do(bg, &fop.Rmdir{Parent: dir, Name: e.Name})
		} else {
			_, err = h.Do(bg, &fop.Unlink{Parent: dir, Name: e.Name})
		}
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
	}
}

// TestGlusterConformance runs the common suite against the real brick.
func TestGlusterConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	_, _, connect := real(t)
	for _, old := range []string{"off", "on"} {
		t.Run("old-protocol "+old, func(t *testing.T) {
			skip := map[string]string{
				"createExisting": "GlusterFS 10.3 opens the target of a symbolic link",
				"locksFlush":     "nobody waits for a RELEASE, and the brick may carry out what follows first",
			}
			if old == "on" {
				skip["xattrReply"] = "version 330 has no form for attributes in a dictionary"
				skip["copyRange"] = "version 330 does not have it on real bricks"
			}
			c := connect(t, "testing.old-protocol", old)
			conformance.Run(t, func(t *testing.T) fop.Handler {
				empty(t, c, fop.RootGFID)
				return c
			}, conformance.Options{Locks: true, Devices: true, Skip: skip})
		})
	}
}

// TestGlusterFops sends every fop that a brick of GlusterFS 10.3 offers, in both
// versions of the protocol. Replies are refused if a byte of them is left over.
func TestGlusterFops(t *testing.T) {
	g, brick, connect := real(t, "features.cache-invalidation", "on")
	for _, old := range []string{"off", "on"} {
		t.Run("old-protocol "+old, func(t *testing.T) {
			c := connect(t, "testing.old-protocol", old)
			name := "f-" + old
			everyFop(t, c, name, old == "on")
		})
	}
	t.Run("reconnect", func(t *testing.T) {
		c := connect(t)
		file := c.create("survivor")
		lock := &fop.Lk{GFID: file.GFID, Fd: file, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, PID: 5, Owner: "12345678"}}
		lock.Cred.Owner, lock.Cred.PID = "12345678", 5
		if _, err := c.Do(bg, lock); err != nil {
			t.Fatal(err)
		}
		g.KillBrick(t, "data", brick)
		c.wait(fop.EventChildDown)
		if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN {
			t.Error(err)
		}
		g.MustCLI(t, "volume", "start", "data", "force")
		c.wait(fop.EventChildUp)
		if _, err := c.Do(bg, &fop.Ftruncate{GFID: file.GFID, Fd: file, Offset: 7}); err != nil {
			t.Error(err)
		}
		other := connect(t)
		fd := &fop.Fd{GFID: file.GFID, Flags: fop.ORdwr}
		if _, err := other.Do(bg, &fop.Open{GFID: file.GFID, Flags: fop.ORdwr, Fd: fd}); err != nil {
			t.Fatal(err)
		}
		try := &fop.Lk{GFID: file.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, PID: 6, Owner: "87654321"}}
		try.Cred.Owner = "87654321"
		if _, err := other.Do(bg, try); fop.Errno(err) != syscall.EAGAIN {
			t.Errorf("the lock was not acquired again: %v", err)
		}
		// A wait that is given up leaves no lock behind.
		try.Cmd = fop.LkSetWait
		ctx, cancel := context.WithCancel(bg)
		waiting := other.Start(ctx, try)
		cancel()
		if _, err := waiting.Wait(); fop.Errno(err) != syscall.ECANCELED {
			t.Error(err)
		}
		if _, err := c.Do(bg, &fop.Flush{GFID: file.GFID, Fd: file, Header: lock.Header}); err != nil {
			t.Error(err)
		}
		third := *lock
		third.Cred.Owner, third.Flock.Owner = "thirdone", "thirdone"
		if _, err := c.Do(bg, &third); err != nil {
			t.Errorf("the wait that was given up had the lock: %v", err)
		}
		// Of two waits of a process for one range one is given up, the other goes on.
		stays := make(chan error, 1)
		go func() {
			still := *try
			still.Cred.Owner, still.Flock.Owner = "stillone", "stillone"
			_, err := other.Do(bg, &still)
			stays <- err
		}()
		ctx, cancel = context.WithCancel(bg)
		waiting = other.Start(ctx, try)
		time.AfterFunc(100*time.Millisecond, cancel)
		if _, err := waiting.Wait(); fop.Errno(err) != syscall.ECANCELED {
			t.Error(err)
		}
		select {
		case err := <-stays:
			t.Errorf("the other wait has ended: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		if _, err := c.Do(bg, &fop.Flush{GFID: file.GFID, Fd: file, Header: third.Header}); err != nil {
			t.Error(err)
		}
		if err := <-stays; err != nil {
			t.Errorf("the other wait: %v", err)
		}
		// What another client does is heard.
		if _, err := c.Do(bg, &fop.Stat{GFID: file.GFID}); err != nil {
			t.Error(err)
		}
		if _, err := other.Do(bg, &fop.Write{GFID: file.GFID, Fd: fd, Data: []byte("other")}); err != nil {
			t.Error(err)
		}
		if u := c.wait(fop.EventUpcall).Upcall; u.Kind != fop.UpcallInvalidate || u.GFID != file.GFID || u.Flags&fop.InvalSize == 0 {
			t.Errorf("%+v", u)
		}
	})
}

// everyFop goes through the fops in the order of their numbers.
func everyFop(t *testing.T, c *side, name string, old bool) {
	root := fop.RootGFID
	head := func() fop.Header {
		return fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})}
	}
	file := c.create(name)
	at := file.GFID
	sent := map[fop.Op]bool{fop.OpCreate: true}
	do := func(req fop.Request, want ...syscall.Errno) fop.Reply {
		t.Helper()
		sent[req.Op()] = true
		reply, err := c.Do(bg, req)
		for _, e := range want {
			if errors.Is(err, e) {
				return reply
			}
		}
		if err != nil || len(want) > 0 {
			t.Errorf("%v: %v, want %v", req.Op(), err, want)
			return fop.NewReply(req.Op())
		}
		return reply
	}
	do(&fop.Stat{GFID: at})
	link := do(&fop.Symlink{Header: head(), Parent: root, Name: name + "-l", Target: "target"}).(*fop.EntryReply)
	if r := do(&fop.Readlink{GFID: link.Stat.GFID, Size: 4096}).(*fop.ReadlinkReply); r.Target != "target" {
		t.Errorf("target %q", r.Target)
	}
	do(&fop.Mknod{Header: head(), Parent: root, Name: name + "-p", Mode: fop.ModeFIFO | 0o600})
	dir := do(&fop.Mkdir{Header: head(), Parent: root, Name: name + "-d", Mode: 0o755}).(*fop.EntryReply).Stat.GFID
	do(&fop.Mkdir{Header: head(), Parent: dir, Name: "sub", Mode: 0o755})
	do(&fop.Rmdir{Parent: dir, Name: "sub"})
	do(&fop.Unlink{Parent: root, Name: name + "-p"})
	do(&fop.Rename{OldParent: root, OldName: name + "-l", NewParent: dir, NewName: "l"})
	do(&fop.Link{GFID: at, Parent: dir, Name: "f"})
	do(&fop.Truncate{GFID: at, Offset: 10})
	fd := &fop.Fd{GFID: at, Flags: fop.ORdwr}
	do(&fop.Open{GFID: at, Flags: fop.ORdwr, Fd: fd})
	if r := do(&fop.Write{GFID: at, Fd: fd, Offset: 3, Data: []byte("hello")}).(*fop.WriteReply); r.Size != 5 || r.Post.Size != 10 {
		t.Errorf("write: %+v", r)
	}
	for _, into := range [][]byte{nil, make([]byte, 100)} {
		if r := do(&fop.Read{GFID: at, Fd: fd, Size: 100, Into: into}).(*fop.ReadReply); !bytes.Equal(r.Data, []byte("\x00\x00\x00hello\x00\x00")) || !r.EOF {
			t.Errorf("read %q", r.Data)
		}
	}
	if r := do(&fop.StatfsReq{GFID: root}).(*fop.StatfsReply); r.Statfs.Blocks == 0 {
		t.Errorf("statfs: %+v", r)
	}
	do(&fop.Flush{GFID: at, Fd: fd})
	do(&fop.Fsync{GFID: at, Fd: fd, Datasync: 1})
	user := func(key, value string) *fop.Dict {
		return fop.NewDict(fop.Pair{Key: "user." + key, Val: fop.Bytes([]byte(value))})
	}
	do(&fop.Setxattr{GFID: at, Dict: user("a", "1")})
	if r := do(&fop.Getxattr{GFID: at, Name: "user.a"}).(*fop.XattrReply); string(r.Dict.Bytes("user.a")) != "1" || r.Size != 1 {
		t.Errorf("getxattr: %+v", r)
	}
	if r := do(&fop.Getxattr{GFID: at, Name: fop.KeyPathinfo}).(*fop.XattrReply); !strings.Contains(r.Dict.Text(fop.KeyPathinfo), "POSIX") {
		t.Errorf("pathinfo: %+v", r)
	}
	do(&fop.Getxattr{GFID: at, Name: "user.none"}, syscall.ENODATA)
	do(&fop.Removexattr{GFID: at, Name: "user.a"})
	fsetx := &fop.Fsetxattr{GFID: at, Fd: fd, Dict: user("b", "2")}
	do(fsetx)
	if r := do(&fop.Fgetxattr{GFID: at, Fd: fd, Name: "user.b"}).(*fop.XattrReply); string(r.Dict.Bytes("user.b")) != "2" {
		t.Errorf("fgetxattr: %+v", r)
	}
	do(&fop.Fremovexattr{GFID: at, Fd: fd, Name: "user.b"})
	dfd := &fop.Fd{GFID: dir, Dir: true}
	do(&fop.Opendir{GFID: dir, Fd: dfd})
	do(&fop.Fsyncdir{GFID: dir, Fd: dfd})
	do(&fop.Access{GFID: at, Mask: 4})
	do(&fop.Ftruncate{GFID: at, Fd: fd, Offset: 20})
	if r := do(&fop.Fstat{GFID: at, Fd: fd}).(*fop.StatReply); r.Stat.Size != 20 || r.Stat.Nlink != 2 {
		t.Errorf("fstat: %+v", r)
	}
	lk := &fop.Lk{GFID: at, Fd: fd, Cmd: fop.LkSet, Type: fop.LockRead, Flock: fop.Flock{Type: fop.LockRead, Start: 2, Len: 3, PID: 9, Owner: "12345678"}}
	lk.Cred.Owner = "12345678"
	do(lk)
	if r := do(&fop.Getactivelk{GFID: at}).(*fop.GetactivelkReply); len(r.Locks) != 1 || r.Locks[0].Flock.Start != 2 || r.Locks[0].Flock.Len != 3 {
		t.Errorf("getactivelk: %+v", r)
	}
	if r := do(&fop.Lookup{Parent: root, Name: name}).(*fop.LookupReply); r.Stat.GFID != at || r.Parent.GFID != root {
		t.Errorf("lookup: %+v", r)
	}
	do(&fop.Lookup{Parent: root, Name: name + "-none"}, syscall.ENOENT)
	names := map[string]bool{}
	for _, e := range do(&fop.Readdir{GFID: dir, Fd: dfd, Size: 4096}).(*fop.ReaddirReply).Entries {
		names[e.Name] = true
	}
	for _, e := range do(&fop.Readdirp{GFID: dir, Fd: dfd, Size: 4096, Header: fop.Header{XData: user("x", "")}}).(*fop.ReaddirReply).Entries {
		if e.Name == "f" && e.Stat.GFID != at {
			t.Errorf("readdirp: %+v", e)
		}
		delete(names, e.Name)
	}
	if len(names) != 0 {
		t.Errorf("only readdir lists %v", names)
	}
	flock := fop.Flock{Type: fop.LockWrite, Len: 1}
	owner := fop.Header{Cred: fop.Cred{Owner: "12345678"}} // real bricks refuse one of zeros
	do(&fop.Inodelk{Header: owner, GFID: at, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: flock, Domain: "d"})
	flock.Type = fop.LockUnlock
	do(&fop.Finodelk{Header: owner, GFID: at, Fd: fd, Cmd: fop.LkSet, Type: fop.LockUnlock, Flock: flock, Domain: "d"})
	do(&fop.Entrylk{Header: owner, GFID: dir, Cmd: fop.EntrylkTry, Type: fop.LockWrite, Name: "x", Domain: "d"})
	do(&fop.Fentrylk{Header: owner, GFID: dir, Fd: dfd, Cmd: fop.EntrylkFree, Type: fop.LockWrite, Name: "x", Domain: "d"})
	count := fop.NewDict(fop.Pair{Key: "trusted.afr.data-client-0", Val: fop.Bytes(make([]byte, 12))})
	do(&fop.Xattrop{GFID: at, Dict: count})
	if r := do(&fop.Fxattrop{GFID: at, Fd: fd, Dict: count}).(*fop.XattrReply); len(r.Dict.Bytes("trusted.afr.data-client-0")) != 12 {
		t.Errorf("fxattrop: %+v", r)
	}
	if r := do(&fop.Rchecksum{GFID: at, Fd: fd, Len: 20}).(*fop.RchecksumReply); r.Weak == 0 || len(r.Strong) == 0 {
		t.Errorf("rchecksum: %+v", r)
	}
	do(&fop.Setattr{GFID: at, Stat: fop.Iatt{Mode: 0o600}, Valid: fop.SetMode})
	if r := do(&fop.Fsetattr{GFID: at, Fd: fd, Stat: fop.Iatt{Mode: 0o640}, Valid: fop.SetMode}).(*fop.AttrReply); r.Post.Mode&0o777 != 0o640 {
		t.Errorf("fsetattr: %+v", r)
	}
	do(&fop.Fallocate{GFID: at, Fd: fd, Size: 8192})
	do(&fop.Discard{GFID: at, Fd: fd, Size: 4096})
	do(&fop.Zerofill{GFID: at, Fd: fd, Size: 4096})
	do(&fop.Ipc{Target: 0})
	if r := do(&fop.Seek{GFID: at, Fd: fd, What: fop.SeekHole}).(*fop.SeekReply); r.Offset > 8192 {
		t.Errorf("seek: %+v", r)
	}
	do(&fop.Lease{GFID: at, Lease: fop.LeaseInfo{Cmd: 1}}, syscall.ENOSYS)
	do(&fop.Setactivelk{GFID: at}, syscall.EIO) // none is an error; a real brick does not survive locks of an unknown client
	copied := c.create(name + "-copy")
	dst := &fop.Fd{GFID: copied.GFID, Flags: fop.OWronly}
	do(&fop.Open{GFID: dst.GFID, Flags: dst.Flags, Fd: dst})
	if !old {
		if r := do(&fop.CopyFileRange{GFID: at, Fd: fd, Dst: dst.GFID, DstFd: dst, Size: 100}).(*fop.CopyFileRangeReply); r.Size != 100 {
			t.Errorf("copy_file_range: %+v", r)
		}
		do(&fop.Put{Parent: root, Name: "put"}, syscall.EOPNOTSUPP)
	}
	do(&fop.Release{GFID: at, Fd: fd})
	do(&fop.Releasedir{GFID: dir, Fd: dfd})
	do(&fop.Unlink{Parent: dir, Name: "f"})
	for op := fop.Op(1); op < fop.OpCount; op++ {
		switch op {
		case fop.OpIcreate, fop.OpNamelink: // a real brick does not survive them
		case fop.OpPut, fop.OpCopyFileRange:
			if !sent[op] && !old {
				t.Errorf("%v was not sent", op)
			}
		default:
			if !sent[op] && fop.NewRequest(op) != nil {
				t.Errorf("%v was not sent", op)
			}
		}
	}
	if want := map[bool]proto.Version{false: proto.V400, true: proto.V330}[old]; c.link.Load().vers != want {
		t.Errorf("version %d", c.link.Load().vers)
	}
}

// TestGlusterRefuses meets the real texts of refusals.
func TestGlusterRefuses(t *testing.T) {
	g, brick, _ := real(t)
	start := func(brick string, options ...string) *side {
		env := &xlator.Env{ProcessUUID: fop.NewGFID().String(), Dial: g.DialContext}
		return startClient(t, env, append([]string{"remote-host", g.IP, "remote-subvolume", brick}, options...)...)
	}
	if ev := start("/no/such/brick").wait(fop.EventChildConnecting); !strings.Contains(ev.Err.Error(), "does not run") {
		t.Error(ev.Err)
	}
	if ev := start(brick, "subdir-mount", "/none").wait(fop.EventAuthFailed); !errors.Is(ev.Err, syscall.ENOENT) {
		t.Error(ev.Err)
	}
	g.Set(t, "data", "auth.reject", "*")
	if ev := start(brick).wait(fop.EventAuthFailed); !errors.Is(ev.Err, syscall.EACCES) || !strings.Contains(ev.Err.Error(), "auth.reject") {
		t.Error(ev.Err)
	}
}
