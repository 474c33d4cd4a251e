package distribute

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// TestOneDown is what works with one of three subvolumes down, for a client from
// before ("old") and for one that came after ("fresh").
func TestOneDown(t *testing.T) {
	c := newCluster(t, 3)
	old := c.mount(0)
	ctx := t.Context()
	dir := old.mustMkdir(root, "x1")
	onDown, onUp := old.nameFor(dir, 2, "down"), old.nameFor(dir, 0, "up")
	for _, n := range []string{onDown, onUp} {
		old.release(old.mustCreate(dir, n))
	}
	// A linkto on an up subvolume whose file is on the one that goes down, and
	// the other way round.
	there := old.nameFor(dir, 0, "there")
	old.place(dir, there, 0, 2)
	linked := old.nameFor(dir, 2, "linked")
	old.place(dir, linked, 2, 0)
	mdsUp, mdsDown := old.mustMkdir(dir, old.nameFor(dir, 1, "m")), old.mustMkdir(dir, old.nameFor(dir, 2, "m"))
	if _, err := old.lookup(dir, linked); err != nil {
		t.Fatal(err)
	}
	freeHashedDown := old.nameFor(dir, 2, "free")
	old.settle()
	for _, g := range []fop.GFID{mdsUp, mdsDown} {
		if _, err := old.layoutOf(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	c.stop(2)
	old.waitUp(2, false)
	fresh := c.mount(0)

	setMode := func(m *mount, g fop.GFID) error {
		_, err := fop.Call(ctx, m, &fop.Setattr{GFID: g, Stat: fop.Iatt{Mode: 0o700}, Valid: fop.SetMode})
		return err
	}
	setUser := func(m *mount, g fop.GFID) error {
		_, err := fop.Call(ctx, m, &fop.Setxattr{GFID: g, Dict: fop.NewDict(fop.Pair{Key: "user.k", Val: fop.Bytes([]byte("v"))})})
		return err
	}
	create := func(m *mount, name string) error {
		fd, err := m.tryCreate(dir, name, fop.OExcl)
		m.release(fd)
		return err
	}
	link := func(m *mount, name string) error {
		g := m.mustLookup(dir, onUp).GFID
		_, err := fop.Call(ctx, m, &fop.Link{GFID: g, Parent: dir, Name: name})
		return err
	}
	for _, v := range []struct {
		action string
		do     func(m *mount, who string) error
		old    error
		fresh  error
	}{
		{"lookup of a file that is up", func(m *mount, _ string) error { _, err := m.lookup(dir, onUp); return err }, nil, nil},
		{"create, hashed up", func(m *mount, who string) error { return create(m, m.nameFor(dir, 0, who)) }, nil, nil},
		{"create, hashed down", func(m *mount, _ string) error { return create(m, freeHashedDown) }, syscall.ENOTCONN, syscall.EIO},
		{"mkdir, hashed down", func(m *mount, _ string) error { _, err := m.tryMkdir(dir, freeHashedDown); return err }, syscall.ENOTCONN, syscall.EIO},
		{"rmdir", func(m *mount, _ string) error { return m.rmdirName(dir, old.nameFor(dir, 1, "m")) }, syscall.ENOTCONN, syscall.ENOTCONN},
		{"rename of a directory", func(m *mount, _ string) error { return m.renameName(root, "x1", root, "x2") }, syscall.ENOTCONN, syscall.ENOTCONN},
		{"chmod of a directory, mds up", func(m *mount, _ string) error { return setMode(m, mdsUp) }, nil, nil},
		{"chmod of a directory, mds down", func(m *mount, _ string) error { return setMode(m, mdsDown) }, syscall.ENOTCONN, syscall.EINVAL},
		{"user xattr of a directory, mds up", func(m *mount, _ string) error { return setUser(m, mdsUp) }, nil, nil},
		{"user xattr of a directory, mds down", func(m *mount, _ string) error { return setUser(m, mdsDown) }, syscall.ENOTCONN, syscall.ESTALE},
		{"trusted xattr of a directory", func(m *mount, _ string) error {
			_, err := fop.Call(ctx, m, &fop.Setxattr{GFID: mdsDown, Dict: fop.NewDict(fop.Pair{Key: "trusted.foo", Val: fop.Bytes([]byte("v"))})})
			return err
		}, nil, nil},
		{"rename, destination hashed down", func(m *mount, _ string) error { return m.renameName(dir, onUp, dir, freeHashedDown) }, syscall.ENOTCONN, syscall.EINVAL},
		{"link, new name hashed down", func(m *mount, _ string) error { return link(m, freeHashedDown) }, syscall.ENOTCONN, syscall.EIO},
		{"statfs", func(m *mount, _ string) error {
			_, err := fop.Call(ctx, m, &fop.StatfsReq{GFID: fop.RootGFID})
			return err
		}, nil, nil},
		{"access", func(m *mount, _ string) error {
			_, err := fop.Call(ctx, m, &fop.Access{GFID: dir, Mask: 4})
			return err
		}, nil, nil},
		{"fsyncdir", func(m *mount, _ string) error {
			fd := m.opendir(dir)
			defer fop.Call(ctx, m, &fop.Releasedir{GFID: dir, Fd: fd})
			_, err := fop.Call(ctx, m, &fop.Fsyncdir{GFID: dir, Fd: fd})
			return err
		}, nil, nil},
	} {
		for who, m := range map[string]*mount{"old": old, "fresh": fresh} {
			want := v.old
			if who == "fresh" {
				want = v.fresh
			}
			if err := v.do(m, who); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s, %s client: %v, want %v", v.action, who, err, want)
			}
		}
	}
	// A file that is down is never said not to exist by mistake for long: the
	// error tells that something is down, or that it is not found.
	for _, n := range []string{onDown, there} {
		for who, m := range map[string]*mount{"old": old, "fresh": fresh} {
			if _, err := m.lookup(dir, n); !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("lookup of %s, %s client: %v", n, who, err)
			}
		}
	}
	// The linkto is down, the file is not.
	if err := old.unlinkName(dir, linked); err != nil {
		t.Errorf("unlink with the linkto down: %v", err)
	}
	c.start(2)
	old.waitUp(2, true)
	if got := c.tree("x1"); !containsPrefix(got, "s2/"+linked+" linkto") || containsPrefix(got, "s0/"+linked) {
		t.Errorf("bricks have %q", got)
	}
	if _, err := old.lookup(dir, linked); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := old.lookup(dir, onDown); err != nil {
		t.Errorf("the file that was down: %v", err)
	}
	if got := c.xattr(2, "x1/"+old.nameFor(dir, 1, "m"), "user.k"); got == "" {
		old.mustLookup(dir, old.nameFor(dir, 1, "m"))
		testWait(t, func() bool { return c.xattr(2, "x1/"+old.nameFor(dir, 1, "m"), "user.k") != "" })
	}
}

func containsPrefix(all []string, prefix string) bool {
	for _, s := range all {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func testWait(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}
