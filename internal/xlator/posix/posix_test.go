//go:build linux

package posix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
)

var testVolume = fop.GFID{0xc1, 0xbd, 0xd6, 0x3b, 0x5a, 0xe0, 0x4c, 0x25, 0xa7, 0x91, 0x2c, 0x98, 0xa3, 0x14, 0x50, 0x70}

// rig is a brick under test with short forms of the fops.
type rig struct {
	t testing.TB
	*Brick
	dir  string
	opts xlator.Options
	tick int64
	cred fop.Cred
}

func (r *rig) open() {
	r.t.Helper()
	o := xlator.Options{"directory": r.dir, "volume-id": testVolume.String(), "reserve": "0"}
	for k, v := range r.opts {
		o[k] = v
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	h, err := New(xlator.Config{Name: "posix", Options: o, Log: log, Env: &xlator.Env{Hostname: "host", GlusterdUUID: "uuid"}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Brick = h.(*Brick)
}

func (r *rig) reopen() { r.t.Helper(); r.Brick.Close(); r.open() }

func newRigIn(t testing.TB, dir string, opts xlator.Options) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, opts: opts, tick: 1000}
	if err := Create(dir, testVolume, CreateOptions{Rootless: opts.Bool("wythe-rootless", false)}); err != nil {
		t.Fatal(err)
	}
	r.open()
	t.Cleanup(func() { r.Brick.Close() })
	return r
}

func newRig(t testing.TB, opts ...string) *rig {
	t.Helper()
	testenv.NeedRoot(t)
	o := xlator.Options{}
	for i := 0; i+1 < len(opts); i += 2 {
		o[opts[i]] = opts[i+1]
	}
	return newRigIn(t, filepath.Join(t.TempDir(), "brick"), o)
}

// head makes a header with the flags of the utime translator.
func (r *rig) head(flags uint32, x ...fop.Pair) fop.Header {
	r.tick++
	h := fop.Header{Cred: r.cred, Time: fop.Stamp{Flags: flags, Sec: r.tick, Nsec: 7}}
	if len(x) > 0 {
		h.XData = fop.NewDict(x...)
	}
	return h
}

const newFlags = fop.TimeAtime | fop.TimeCtime | fop.TimeMtime | fop.TimeParentCtime | fop.TimeParentMtime
const rmFlags = fop.TimeCtime | fop.TimeParentCtime | fop.TimeParentMtime

func gfidReq(g fop.GFID) fop.Pair { return fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)} }

func call[R fop.Reply](r *rig, req fop.RequestFor[R]) (R, error) {
	return fop.Call(context.Background(), r.Brick, req)
}

func must[R fop.Reply](r *rig, req fop.RequestFor[R]) R {
	r.t.Helper()
	reply, err := call(r, req)
	if err != nil {
		r.t.Fatalf("%v %+v: %v", req.Op(), req, err)
	}
	return reply
}

func fails[R fop.Reply](r *rig, want syscall.Errno, req fop.RequestFor[R]) R {
	r.t.Helper()
	reply, err := call(r, req)
	if !errors.Is(err, want) {
		r.t.Fatalf("%v %+v: got %v, want %v", req.Op(), req, err, want)
	}
	return reply
}

func (r *rig) mkdir(parent fop.GFID, name string, x ...fop.Pair) fop.GFID {
	r.t.Helper()
	g := fop.NewGFID()
	must(r, &fop.Mkdir{Header: r.head(newFlags, append(x, gfidReq(g))...), Parent: parent, Name: name, Mode: 0o755})
	return g
}

func (r *rig) create(parent fop.GFID, name, content string, x ...fop.Pair) fop.GFID {
	r.t.Helper()
	g := fop.NewGFID()
	fd := &fop.Fd{Flags: fop.ORdwr}
	must(r, &fop.Create{Header: r.head(newFlags, append(x, gfidReq(g))...), Parent: parent, Name: name, Mode: 0o644, Flags: fop.ORdwr | fop.OExcl, Fd: fd})
	if content != "" {
		must(r, &fop.Write{Header: r.head(fop.TimeMtime | fop.TimeCtime), GFID: g, Fd: fd, Data: []byte(content)})
	}
	must(r, &fop.Release{Fd: fd})
	return g
}

func (r *rig) lookup(parent fop.GFID, name string, x ...fop.Pair) *fop.LookupReply {
	r.t.Helper()
	return must(r, &fop.Lookup{Header: r.head(0, x...), Parent: parent, Name: name})
}

func (r *rig) content(g fop.GFID) string {
	r.t.Helper()
	return string(must(r, &fop.Read{GFID: g, Size: 1 << 20}).Data)
}

func (r *rig) list(g fop.GFID) []string {
	r.t.Helper()
	var names []string
	for off := uint64(0); ; {
		d := must(r, &fop.Readdir{GFID: g, Offset: off, Size: 4096})
		for _, e := range d.Entries {
			names = append(names, e.Name)
			off = e.Off
		}
		if d.EOF {
			return names
		}
	}
}

func lgetxattr(t testing.TB, path, key string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, key, buf)
	if err != nil {
		t.Fatalf("%s of %s: %v", key, path, err)
	}
	return string(buf[:n])
}

func (r *rig) handlePath(g fop.GFID) string {
	return filepath.Join(r.dir, brickfs.Meta, brickfs.Handle(g))
}

func TestCreateReadWrite(t *testing.T) {
	r := newRig(t)
	d := r.mkdir(fop.RootGFID, "dir")
	f := r.create(d, "file", "Winter is coming.")
	if got := r.content(f); got != "Winter is coming." {
		t.Fatalf("content %q", got)
	}
	l := r.lookup(d, "file")
	if l.Stat.GFID != f || l.Stat.Nlink != 1 || l.Stat.Size != 17 || l.Stat.Flags != fop.IattAll || l.Stat.Ino != f.Ino() {
		t.Fatalf("stat %+v", l.Stat)
	}
	if l.Parent.GFID != d {
		t.Fatalf("parent %+v", l.Parent)
	}
	if want := (fop.Time{Sec: r.tick - 1, Nsec: 7}); l.Stat.Mtime != want {
		t.Fatalf("mtime %v, want %v", l.Stat.Mtime, want)
	}
	must(r, &fop.Unlink{Header: r.head(rmFlags), Parent: d, Name: "file"})
	fails(r, syscall.ENOENT, &fop.Lookup{Parent: d, Name: "file"})
	fails(r, syscall.ESTALE, &fop.Stat{GFID: f})
	if _, err := os.Lstat(r.handlePath(f)); !os.IsNotExist(err) {
		t.Fatalf("handle after unlink: %v", err)
	}
	must(r, &fop.Rmdir{Header: r.head(rmFlags), Parent: fop.RootGFID, Name: "dir"})
	if _, err := os.Lstat(r.handlePath(d)); !os.IsNotExist(err) {
		t.Fatalf("handle after rmdir: %v", err)
	}
	fails(r, syscall.ESTALE, &fop.Lookup{Parent: d, Name: "file"})
	if names := strings.Join(r.list(fop.RootGFID), " "); strings.Contains(names, brickfs.Meta) || len(names) != 4 {
		t.Fatalf("root lists %q", names)
	}
}

func TestReaddirp(t *testing.T) {
	r := newRig(t)
	want := map[string]fop.GFID{}
	for i := range 300 {
		name := fmt.Sprintf("file-%03d", i)
		want[name] = r.create(fop.RootGFID, name, "x")
	}
	want["sub"] = r.mkdir(fop.RootGFID, "sub")
	fd := &fop.Fd{Dir: true}
	must(r, &fop.Opendir{GFID: fop.RootGFID, Fd: fd})
	var off uint64
	rounds := 0
	for eof := false; !eof; rounds++ {
		d := must(r, &fop.Readdirp{Header: r.head(0, fop.Pair{Key: fop.XattrMdata, Val: fop.Int(0)}), GFID: fop.RootGFID, Fd: fd, Offset: off, Size: 4096})
		if len(d.Entries) > 4096/209 {
			t.Fatalf("%d entries in 4096 bytes", len(d.Entries))
		}
		for _, e := range d.Entries {
			off = e.Off
			if e.Name == "." || e.Name == ".." {
				continue
			}
			if want[e.Name] != e.Stat.GFID || e.Ino != e.Stat.GFID.Ino() || len(e.XData.Bytes(fop.XattrMdata)) != fop.MdataSize {
				t.Fatalf("entry %+v", e)
			}
			delete(want, e.Name)
		}
		eof = d.EOF
	}
	if len(want) != 0 || rounds < 10 {
		t.Fatalf("%d entries missing after %d rounds", len(want), rounds)
	}
	must(r, &fop.Releasedir{Fd: fd})
}

func TestBirthTimesOfReply(t *testing.T) {
	r := newRig(t)
	start := time.Now().Unix()
	g := fop.NewGFID()
	// Without flags nothing is recorded; the times are those of the disk.
	m := must(r, &fop.Mkdir{Header: r.head(0, gfidReq(g)), Parent: fop.RootGFID, Name: "d", Mode: 0o700})
	if m.Stat.Mtime.Sec < start {
		t.Fatalf("mtime %v", m.Stat.Mtime)
	}
	if _, err := unix.Lgetxattr(filepath.Join(r.dir, "d"), fop.XattrMdata, nil); err != syscall.ENODATA {
		t.Fatalf("mdata: %v", err)
	}
}
