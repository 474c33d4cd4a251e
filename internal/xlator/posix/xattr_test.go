//go:build linux

package posix

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
)

func key(k string) fop.Pair { return fop.Pair{Key: k, Val: fop.Int(0)} }

func TestFill(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "content")
	set := func(k, v string) {
		t.Helper()
		must(r, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: k, Val: fop.Bytes([]byte(v))})})
	}
	set("trusted.afr.vol-client-0", "a")
	set("trusted.afr.vol-client-1", "b")
	set("user.one", "1")
	set("trusted.glusterfs.quota.dirty", "0")
	ask := func(keys ...fop.Pair) string {
		t.Helper()
		x := r.lookup(fop.RootGFID, "f", keys...).XData
		var out []string
		for _, p := range x.Pairs() {
			out = append(out, p.Key)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		keys []fop.Pair
		want string
	}{
		{[]fop.Pair{key("no.such.thing"), key("*nothing*")}, ""},
		{[]fop.Pair{key("trusted.afr.vol-client-*")}, "trusted.afr.vol-client-0 trusted.afr.vol-client-1"},
		{[]fop.Pair{key("trusted.afr.vol-client-[1-9]")}, "trusted.afr.vol-client-1"},
		{[]fop.Pair{key("user.one"), key("user.two")}, "user.one"},
		{[]fop.Pair{key(fop.XattrMdata), key(fop.XattrACLAccess), key("security.ima"), key("user.one")}, "trusted.glusterfs.mdata user.one"},
		{[]fop.Pair{key(fop.KeyListXattr)}, "trusted.afr.vol-client-0 trusted.afr.vol-client-1 trusted.glusterfs.mdata user.one"},
		{[]fop.Pair{{Key: fop.KeyContent, Val: fop.Uint(7)}}, "glusterfs.content"},
		{[]fop.Pair{{Key: fop.KeyContent, Val: fop.Uint(6)}}, ""},
		{[]fop.Pair{key("get-size"), key(fop.KeyOpenFdCount), key("gf_request_link_count")}, "get-size gf_request_link_count glusterfs.open-fd-count"},
		{[]fop.Pair{key("glusterfs.posix.acl")}, "glusterfs.posix.acl"},
		{[]fop.Pair{key("trusted.gfid")}, "trusted.gfid"},
	} {
		if got := ask(c.keys...); got != c.want {
			t.Errorf("%v: got %q, want %q", c.keys, got, c.want)
		}
	}
	x := r.lookup(fop.RootGFID, "f", fop.Pair{Key: fop.KeyContent, Val: fop.Uint(100)}, key("get-size"), key("glusterfs.posix.acl")).XData
	if x.Text(fop.KeyContent) != "content" || x.Int("get-size") != 7 || x.Text("glusterfs.posix.acl") != "u::rw-,g::r--,o::r--" {
		t.Errorf("%+v", x)
	}
	if l := must(r, &fop.Lookup{Parent: fop.RootGFID, Name: "f"}); l.XData != nil {
		t.Errorf("xdata without being asked: %v", l.XData)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "abcd", false}, {"*", "", true}, {"", "", true}, {"", "a", false},
		{"?", "a", true}, {"?", "", false}, {"*.*.contri", "trusted.x.y.contri", true}, {"a\\*", "a*", true}, {"a\\*", "ab", false},
		{"[!a]", "b", true}, {"[^a]", "a", false}, {"[]a]", "]", true}, {"[a-c]x", "bx", true}, {"[a", "[a", true}, {"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false}, {"**", "a/b", true}, {"trusted.*", ".trusted", false},
	} {
		if got := glob(c.pattern, c.name); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*[b-c]?\\d", "axbyd")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 64 || len(name) > 64 {
			return
		}
		if got := glob(pattern, name); !strings.ContainsAny(pattern, "*?[\\") && got != (pattern == name) {
			t.Fatalf("%q %q", pattern, name)
		}
	})
}

func TestACL(t *testing.T) {
	for _, c := range []struct{ binary, text string }{
		{"0200000001000700ffffffff02000700e903000004000700ffffffff10000700ffffffff20000500ffffffff", "u::rwx,u:1001:rwx,g::rwx,m::rwx,o::r-x"},
		{"0200000001000600ffffffff02000700e903000004000700ffffffff10000600ffffffff20000400ffffffff", "u::rw-,u:1001:rwx,g::rwx,m::rw-,o::r--"},
	} {
		b, _ := hex.DecodeString(c.binary)
		acl, ok := parseACL(b)
		if !ok || formatACL(acl) != c.text {
			t.Errorf("%s is %q", c.binary, formatACL(acl))
		}
		back, err := scanACL(c.text)
		if err != nil || hex.EncodeToString(appendACL(nil, back)) != c.binary {
			t.Errorf("%q became %x, %v", c.text, appendACL(nil, back), err)
		}
	}
	for _, bad := range []string{"u::rwx", "u::rwx,g::rwx,o::rwx,u:5:r", "x::rwx", "u::rwx,u::r,g::r,o::r", "u::rwz,g::r,o::r", "u:nobody-has-this-name:r,u::r,g::r,o::r,m::r"} {
		if _, err := scanACL(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if acl, err := scanACL("user::rw-\ngroup::r--\t#effective\nother::---\n"); err != nil || formatACL(acl) != "u::rw-,g::r--,o::---" {
		t.Errorf("long form: %v, %v", acl, err)
	}
	for _, rootless := range []string{"off", "on"} {
		r := newRig(t, "wythe-rootless", rootless)
		g := r.create(fop.RootGFID, "f", "")
		const text = "u::rwx,u:1001:rwx,g::r--,m::rwx,o::r-x"
		x := must(r, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "glusterfs.posix.acl", Val: fop.Str(text)})}).XData
		if len(x.Bytes(fop.XattrACLAccess)) != 44 {
			t.Errorf("reply %v", x)
		}
		if got := must(r, &fop.Getxattr{GFID: g, Name: "glusterfs.posix.acl"}).Dict.Text("glusterfs.posix.acl"); got != text {
			t.Errorf("rootless %s: acl %q", rootless, got)
		}
		if a := must(r, &fop.Stat{GFID: g}).Stat; a.Mode&0o777 != 0o775 {
			t.Errorf("rootless %s: mode %o after the ACL", rootless, a.Mode)
		}
		fails(r, syscall.EACCES, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "glusterfs.posix.default_acl", Val: fop.Str(text)})})
	}
}

func FuzzParseACL(f *testing.F) {
	f.Add(appendACL(nil, modeACL(0o755)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if acl, ok := parseACL(b); ok {
			if string(appendACL(nil, acl)) != string(b) {
				t.Fatalf("%x", b)
			}
			formatACL(acl)
			aclMode(acl)
		}
	})
}

func FuzzScanACL(f *testing.F) {
	f.Add("u::rwx,u:1:r--,g::r-x,m::rwx,o::---")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsFunc(s, func(r rune) bool { return r > 127 }) {
			return
		}
		acl, err := scanACL(s)
		if err != nil {
			return
		}
		again, err := scanACL(formatACL(acl))
		if err != nil || !slices.Equal(acl, again) {
			t.Fatalf("%q: %v became %v, %v", s, acl, again, err)
		}
	})
}

func FuzzParseDirent(f *testing.F) {
	f.Add(make([]byte, 24))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			_, n, ok := parseDirent(b)
			if !ok {
				return
			}
			b = b[n:]
		}
	})
}

func TestXattrRules(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "x")
	set := func(k, v string) *fop.Setxattr {
		return &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: k, Val: fop.Bytes([]byte(v))})}
	}
	path := filepath.Join(r.dir, "f")
	before := lgetxattr(t, path, fop.XattrGFID)
	must(r, set(fop.XattrGFID, "0123456789abcdef")) // dropped silently
	if lgetxattr(t, path, fop.XattrGFID) != before {
		t.Error("the gfid was changed")
	}
	fails(r, syscall.EACCES, set(fop.KeyPathinfo, "x"))
	fails(r, syscall.ENOTSUP, set(fop.XattrGFID2Path+"0123456789abcdef", "x"))
	fails(r, syscall.EPERM, &fop.Removexattr{GFID: g, Name: fop.XattrGFID})
	fails(r, syscall.ENODATA, &fop.Removexattr{GFID: g, Name: fop.XattrGFID2Path + "0"})
	fails(r, syscall.ENODATA, &fop.Getxattr{GFID: g, Name: fop.XattrMdata})
	key, _ := brickfs.BackPointer(fop.RootGFID, "f")
	fails(r, syscall.ENODATA, &fop.Getxattr{GFID: g, Name: key})
	inner := fop.Header{Cred: fop.Cred{PID: fop.PIDSelfHeal}}
	if x := must(r, &fop.Getxattr{Header: inner, GFID: g, Name: fop.XattrMdata}); x.Size != fop.MdataSize {
		t.Errorf("mdata for self-heal: %d bytes", x.Size)
	}
	if x := must(r, &fop.Getxattr{GFID: g, Name: fop.XattrGFID}); x.Dict.Len() != 0 {
		t.Errorf("gfid is shown: %v", x.Dict)
	}
	if x := must(r, &fop.Getxattr{GFID: g}); x.Dict.Len() != 0 {
		t.Errorf("listed: %v", x.Dict)
	}
	must(r, set("trusted.glusterfs.abc.xtime", "x"))
	fails(r, syscall.ENODATA, &fop.Getxattr{GFID: g, Name: "trusted.glusterfs.abc.xtime"})
	must(r, &fop.Getxattr{Header: fop.Header{Cred: fop.Cred{PID: fop.PIDGsyncd}}, GFID: g, Name: "trusted.glusterfs.abc.xtime"})
	must(r, set("user.big", strings.Repeat("v", 2000)))
	if v := must(r, &fop.Getxattr{GFID: g, Name: "user.big"}); v.Size != 2000 || len(v.Dict.Bytes("user.big")) != 2000 {
		t.Errorf("big value: %d", v.Size)
	}
	must(r, &fop.Removexattr{Header: r.head(0, fop.Pair{Key: "user.big", Val: fop.Int(0)}, fop.Pair{Key: "user.none", Val: fop.Int(0)}), GFID: g})
	fails(r, syscall.ENODATA, &fop.Getxattr{GFID: g, Name: "user.big"})
	fails(r, syscall.EPERM, &fop.Setxattr{GFID: fop.RootGFID, Dict: fop.NewDict(fop.Pair{Key: brickfs.Marker, Val: fop.Str("1")})})

	if got := must(r, &fop.Getxattr{GFID: g, Name: fop.KeyPathinfo}).Dict.Text(fop.KeyPathinfo); got != fmt.Sprintf("<POSIX(%s):host:%s/f>", r.dir, r.dir) {
		t.Errorf("pathinfo %q", got)
	}
	if got := must(r, &fop.Getxattr{GFID: g, Name: fop.KeyNodeUUID}).Dict.Text(fop.KeyNodeUUID); got != "uuid" {
		t.Errorf("node-uuid %q", got)
	}
	real := "glusterfs.get_real_filename:F"
	if got := must(r, &fop.Getxattr{GFID: fop.RootGFID, Name: real}).Dict.Text(real); got != "f" {
		t.Errorf("real name %q", got)
	}
	fails(r, syscall.ENODATA, &fop.Getxattr{GFID: fop.RootGFID, Name: "glusterfs.get_real_filename:.GLUSTERFS"})
}

func TestXattrop(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "x")
	be := func(size int, n ...uint64) []byte {
		var b []byte
		for _, v := range n {
			if size == 4 {
				b = binary.BigEndian.AppendUint32(b, uint32(v))
			} else {
				b = binary.BigEndian.AppendUint64(b, v)
			}
		}
		return b
	}
	op := func(kind uint32, k string, arg []byte) []byte {
		t.Helper()
		return must(r, &fop.Xattrop{GFID: g, Kind: kind, Dict: fop.NewDict(fop.Pair{Key: k, Val: fop.Bytes(arg)})}).Dict.Bytes(k)
	}
	const k = "trusted.afr.dirty"
	for _, c := range []struct {
		kind      uint32
		arg, want []byte
		stored    int
	}{
		{fop.XattropAdd, be(4, 0, 0, 0), be(4, 0, 0, 0), -1}, // nothing is made
		{fop.XattropAdd, be(4, 1, 0, 2), be(4, 1, 0, 2), 12},
		{fop.XattropAdd, be(4, 1<<32-1, 5, 0), be(4, 0, 5, 2), 12},
		{fop.XattropAdd, be(4, 0, 0, 0), be(4, 0, 5, 2), 12},
		{fop.XattropGetAndSet, be(4, 9), be(4, 0, 5, 2), 4},
		{fop.XattropAdd64, be(8, 1), append(be(4, 9), be(4, 1)...), 8},
	} {
		if got := op(c.kind, k, c.arg); string(got) != string(c.want) {
			t.Errorf("kind %d of %x: %x, want %x", c.kind, c.arg, got, c.want)
		}
		v, err := r.attrs.Value(brickfs.At(r.root.fd, "f"), k)
		if c.stored < 0 && err != syscall.ENODATA || c.stored >= 0 && len(v) != c.stored {
			t.Errorf("kind %d of %x: stored %x, %v", c.kind, c.arg, v, err)
		}
	}
	if got := op(fop.XattropAddDefault, "trusted.d", be(4, 1, 2, 10, 20)); string(got) != string(be(4, 11, 22)) {
		t.Errorf("with default: %x", got)
	}
	if got := op(fop.XattropAddDefault, "trusted.d", be(4, 1, 2, 10, 20)); string(got) != string(be(4, 12, 24)) {
		t.Errorf("with default, again: %x", got)
	}
	if got := must(r, &fop.Xattrop{GFID: g, Kind: fop.XattropGetAndSet, Dict: fop.NewDict(fop.Pair{Key: "trusted.new", Val: fop.Bytes([]byte("v"))})}).Dict; got.Has("trusted.new") {
		t.Errorf("get-and-set of nothing: %v", got)
	}
	fails(r, syscall.EINVAL, &fop.Xattrop{GFID: g, Kind: fop.XattropOr, Dict: fop.NewDict(fop.Pair{Key: k, Val: fop.Bytes(be(4, 1))})})
}

// TestTimes follows the recorded times through the fops that change them.
func TestTimes(t *testing.T) {
	r := newRig(t)
	g := r.create(fop.RootGFID, "f", "")
	times := func() fop.Iatt { return must(r, &fop.Stat{GFID: g}).Stat }
	a := times()
	must(r, &fop.Write{Header: r.head(fop.TimeMtime | fop.TimeCtime), GFID: g, Data: []byte("x")})
	if b := times(); !a.Mtime.Less(b.Mtime) || b.Mtime.Sec != r.tick || b.Atime != a.Atime {
		t.Errorf("after write: %v, before %v", b, a)
	}
	// An older clock does not set times back.
	must(r, &fop.Write{Header: fop.Header{Time: fop.Stamp{Flags: fop.TimeMtime | fop.TimeCtime, Sec: 5}}, GFID: g, Data: []byte("y")})
	if b := times(); b.Mtime.Sec != r.tick {
		t.Errorf("set back by write: %v", b.Mtime)
	}
	// A user may.
	must(r, &fop.Setattr{Header: r.head(0), GFID: g, Valid: fop.SetMtime | fop.SetAtime, Stat: fop.Iatt{Mtime: fop.Time{Sec: 7, Nsec: 8}, Atime: fop.Time{Sec: 9}}})
	if b := times(); b.Mtime != (fop.Time{Sec: 7, Nsec: 8}) || b.Atime != (fop.Time{Sec: 9}) || b.Ctime.Sec != r.tick {
		t.Errorf("after utimes: %+v", b)
	}
	h := fop.Header{Cred: fop.Cred{PID: fop.PIDSetUtime}}
	m := fop.Mdata{Atime: fop.Time{Sec: 1}, Mtime: fop.Time{Sec: 1e9}, Ctime: fop.Time{Sec: 1}}
	must(r, &fop.Setxattr{Header: h, GFID: g, Dict: fop.NewDict(fop.Pair{Key: fop.KeySetCtime, Val: fop.MdataValue(m)})})
	if b := times(); b.Mtime.Sec != 1e9 || b.Atime.Sec != 9 || b.Ctime.Sec != r.tick {
		t.Errorf("after merge: %+v", b)
	}
	before := times()
	r.reopen()
	if b := times(); b.Mtime != before.Mtime || b.Ctime != before.Ctime || b.Atime != before.Atime {
		t.Errorf("after restart: %+v, before %+v", b, before)
	}
	r.opts = map[string]string{"ctime": "off"}
	r.reopen()
	if b := times(); b.Mtime.Sec == 1e9 {
		t.Errorf("with ctime off: %+v", b)
	}
}

// TestRootlessOwner checks what only the record of a rootless brick can hold.
func TestRootlessOwner(t *testing.T) {
	r := newRig(t, "wythe-rootless", "on")
	r.cred = fop.Cred{UID: 12, GID: 34}
	d := r.mkdir(fop.RootGFID, "d")
	g := fop.NewGFID()
	must(r, &fop.Mknod{Header: r.head(newFlags, gfidReq(g)), Parent: d, Name: "dev", Mode: fop.ModeChar | 0o604, Rdev: 0x0c22})
	must(r, &fop.Setattr{GFID: d, Valid: fop.SetMode | fop.SetUID, Stat: fop.Iatt{Mode: 0, UID: 99}})
	r.reopen()
	if a := must(r, &fop.Stat{GFID: d}).Stat; a.UID != 99 || a.GID != 34 || a.Mode != fop.ModeDir {
		t.Errorf("directory: %+v", a)
	}
	if a := r.lookup(d, "dev").Stat; a.UID != 12 || a.Mode != fop.ModeChar|0o604 || a.Major() != 12 || a.Minor() != 34 {
		t.Errorf("device: %+v", a)
	}
	for _, e := range must(r, &fop.Readdir{GFID: d, Size: 4096}).Entries {
		if e.Name == "dev" && e.Type != 2 {
			t.Errorf("type of the device in a listing: %d", e.Type)
		}
	}
	fails(r, syscall.EINVAL, &fop.Open{GFID: g, Fd: &fop.Fd{}})
	fails(r, syscall.EPERM, &fop.Setxattr{GFID: d, Dict: fop.NewDict(fop.Pair{Key: "user.wythe.owner", Val: fop.Str("x")})})
	if x := must(r, &fop.Getxattr{GFID: d}); x.Dict.Len() != 0 {
		t.Errorf("listed: %v", x.Dict)
	}
}
