package server

import (
	"net"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestAuthenticate(t *testing.T) {
	addr := func(s string) *net.TCPAddr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	allow := func(list string, more ...string) xlator.Options {
		o := xlator.Options{"auth.addr./b.allow": list}
		for i := 0; i < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return o
	}
	ten := credentials{addr: addr("10.1.2.3:49150")}
	for _, tc := range []struct {
		name        string
		opt         xlator.Options
		c           credentials
		ok, trusted bool
	}{
		{"nothing configured", xlator.Options{}, ten, false, false},
		{"everybody", allow("*"), ten, true, false},
		{"exact", allow("10.1.2.3"), ten, true, false},
		{"other", allow("10.1.2.4"), ten, false, false},
		{"pattern", allow("10.1.*"), ten, true, false},
		{"second of a list", allow("192.168.0.1, 10.1.2.3"), ten, true, false},
		{"network", allow("10.1.0.0/16"), ten, true, false},
		{"other network", allow("10.2.0.0/16"), ten, false, false},
		{"IPv4 in IPv6", allow("10.1.2.3"), credentials{addr: addr("[::ffff:10.1.2.3]:5")}, true, false},
		{"IPv6", allow("fe80::/10"), credentials{addr: addr("[fe80::1]:5")}, true, false},
		{"host name", allow("localhost"), credentials{addr: addr("127.0.0.1:5")}, true, false},
		{"legacy name of the module", xlator.Options{"auth.ip./b.allow": "10.*"}, ten, true, false},
		{"another brick's list", xlator.Options{"auth.addr./c.allow": "*"}, ten, false, false},
		{"negation", allow("!10.1.2.3"), ten, false, false},
		{"negation of others", allow("!10.9.9.9"), ten, true, false},
		{"negation goes on to the end of the list", allow("!10.1.2.3,10.1.2.3"), ten, false, false},
		{"rejected although allowed", allow("*", "auth.addr./b.reject", "10.*"), ten, false, false},
		{"only a reject list", xlator.Options{"auth.addr./b.reject": "192.*"}, ten, false, false},
		{"insecure port", allow("*", "rpc-auth-allow-insecure", "off"), ten, false, false},
		{"secure port", allow("*", "rpc-auth-allow-insecure", "off"), credentials{addr: addr("10.1.2.3:1023")}, true, false},
		{"unix socket", allow("*"), credentials{addr: &net.UnixAddr{Name: "/s"}}, true, false},

		{"subdirectory", allow("/d(10.1.2.3|10.1.2.4),/e(*)"), credentials{addr: ten.addr, subdir: "/d"}, true, false},
		{"subdirectory of others", allow("/d(10.9.9.9),/e(*)"), credentials{addr: ten.addr, subdir: "/d"}, false, false},
		{"root when subdirectories are listed", allow("/d(*)"), ten, false, false},
		{"root listed", allow("/(10.*),/d(*)"), ten, true, false},
		{"subdirectory without list", allow("/d"), credentials{addr: ten.addr, subdir: "d/"}, true, false},

		{"name and password", xlator.Options{"auth.login./b.allow": "u", "auth.login.u.password": "p"},
			credentials{addr: ten.addr, username: "u", password: "p"}, true, true},
		{"wrong password although the address is allowed", allow("*", "auth.login./b.allow", "u", "auth.login.u.password", "p"),
			credentials{addr: ten.addr, username: "u", password: "q"}, false, false},
		{"unknown name, address allowed", allow("*", "auth.login./b.allow", "u", "auth.login.u.password", "p"),
			credentials{addr: ten.addr, username: "x", password: "p"}, true, false},
		{"unknown name, strict", allow("*", "auth.login./b.allow", "u", "auth.login.u.password", "p", "strict-auth-accept", "on"),
			credentials{addr: ten.addr, username: "x", password: "p"}, false, false},
		{"no name, strict", allow("*", "auth.login./b.allow", "u", "strict-auth-accept", "true"), ten, false, false},
		{"right name, address rejected", allow("*", "auth.addr./b.reject", "10.*", "auth.login./b.allow", "u", "auth.login.u.password", "p"),
			credentials{addr: ten.addr, username: "u", password: "p"}, false, false},

		{"certificate", xlator.Options{"auth.login./b.ssl-allow": "alice bob"}, credentials{addr: ten.addr, tls: true, sslName: "bob"}, true, false},
		{"certificate of a stranger with the right password", xlator.Options{"auth.login./b.ssl-allow": "alice", "auth.login./b.allow": "u", "auth.login.u.password": "p"},
			credentials{addr: ten.addr, tls: true, sslName: "eve", username: "u", password: "p"}, false, false},
		{"certificate, no list, address allowed", allow("*", "auth.login./b.allow", "u"), credentials{addr: ten.addr, tls: true, sslName: "eve"}, true, false},
	} {
		c := tc.c
		c.brick = "/b"
		if ok, trusted := authenticate(tc.opt, &c); ok != tc.ok || trusted != tc.trusted {
			t.Errorf("%s: %v, trusted %v", tc.name, ok, trusted)
		}
	}
}

func TestSquash(t *testing.T) {
	root := func(pid int32) fop.Cred { return fop.Cred{PID: pid, Groups: []uint32{0, 5}} }
	for _, tc := range []struct {
		name     string
		opt      xlator.Options
		trusted  bool
		in       fop.Cred
		uid, gid uint32
		groups   [2]uint32
	}{
		{"off", nil, false, root(9), 0, 0, [2]uint32{0, 5}},
		{"root", xlator.Options{"root-squash": "on"}, false, root(9), 65534, 65534, [2]uint32{65534, 5}},
		{"own ids", xlator.Options{"root-squash": "on", "anonuid": "7", "anongid": "8"}, true, root(9), 7, 8, [2]uint32{8, 5}},
		{"not root", xlator.Options{"root-squash": "on"}, false, fop.Cred{UID: 3, GID: 4, Groups: []uint32{1, 5}}, 3, 4, [2]uint32{1, 5}},
		{"all", xlator.Options{"all-squash": "on"}, false, fop.Cred{UID: 3, GID: 4, Groups: []uint32{1, 0}}, 65534, 65534, [2]uint32{1, 65534}},
		{"trusted daemon", xlator.Options{"root-squash": "on"}, true, root(fop.PIDSelfHeal), 0, 0, [2]uint32{0, 5}},
		{"untrusted daemon", xlator.Options{"root-squash": "on"}, false, root(fop.PIDSelfHeal), 65534, 65534, [2]uint32{65534, 5}},
		{"trusted without squash", xlator.Options{"all-squash": "on"}, true, root(fop.PIDNoRootSquash), 0, 0, [2]uint32{0, 5}},
		{"trusted bit-rot daemon is not exempt", xlator.Options{"root-squash": "on"}, true, root(fop.PIDBitd), 65534, 65534, [2]uint32{65534, 5}},
	} {
		q := newSquash(tc.opt)
		c := tc.in
		q.apply(&c, tc.trusted)
		if c.UID != tc.uid || c.GID != tc.gid || [2]uint32(c.Groups) != tc.groups {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}

func TestGroupCache(t *testing.T) {
	calls := 0
	g := groupCache{lookup: func(uid uint32) []uint32 { calls++; return []uint32{uid + 1} }}
	for range 3 {
		if gids := g.groups(5, 1<<40); len(gids) != 1 || gids[0] != 6 {
			t.Errorf("%v", gids)
		}
	}
	if calls != 1 {
		t.Errorf("%d look-ups", calls)
	}
	g.groups(6, 0)
	g.groups(6, 0)
	if calls != 3 {
		t.Errorf("%d look-ups without a lifetime", calls)
	}
	if gids := systemGroups(0); len(gids) == 0 {
		t.Error("root has no groups")
	}
	if gids := systemGroups(4_000_000_000); gids != nil {
		t.Errorf("nobody has groups %v", gids)
	}
}

func TestFdTable(t *testing.T) {
	var tab fdTable
	add := func(want int64) {
		t.Helper()
		f := &openFile{}
		f.refs.Store(1)
		if n, err := tab.add(f); n != want || err != nil {
			t.Errorf("got %d, %v, want %d", n, err, want)
		}
	}
	take := func(n int64) {
		t.Helper()
		if _, err := tab.take(n); err != nil {
			t.Errorf("take %d: %v", n, err)
		}
	}
	for i := range int64(5) {
		add(i)
	}
	take(3)
	take(1)
	add(1) // the lowest free one
	add(3)
	add(5)
	for _, n := range []int64{-1, -2, 6, 1 << 40} {
		if _, err := tab.get(n); err == nil {
			t.Errorf("%d is open", n)
		}
		if _, err := tab.take(n); err == nil {
			t.Errorf("%d could be taken", n)
		}
	}
	list, size, free := tab.list()
	if len(list) != 6 || size != 128 || free != 6 {
		t.Errorf("%v %d %d", list, size, free)
	}
	if left := tab.close(); len(left) != 6 {
		t.Errorf("%d files left", len(left))
	}
	if _, err := tab.add(&openFile{}); err == nil {
		t.Error("a closed table takes files")
	}
}
