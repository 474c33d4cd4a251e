package distribute

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
)

// glusterCluster is a volume of GlusterFS's own bricks and a mount of its
// client.
func glusterCluster(t *testing.T, n int) (c *cluster, dir string) {
	g := testenv.Gluster(t)
	base := testenv.LoopFS(t, "xfs", 512)
	c = &cluster{t: t, name: "data", dial: g.DialContext}
	var words []string
	for i := range n {
		b := &testBrick{dir: filepath.Join(base, fmt.Sprint("b", i)), addr: net.JoinHostPort(g.IP, "0")}
		c.bricks = append(c.bricks, b)
		words = append(words, b.dir)
	}
	g.Volume(t, "data", words...)
	return c, g.Mount(t, "data")
}

// TestGluster works on bricks of GlusterFS beside its client.
func TestGluster(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	c, real := glusterCluster(t, 3)
	m := c.mount(0)
	third := map[string][]string{
		"x1":   {"0 55555555-aaaaaaa9", "0 aaaaaaaa-ffffffff", "0 0-55555554"},
		"dirB": {"0 aaaaaaaa-ffffffff", "0 0-55555554", "0 55555555-aaaaaaa9"},
	}
	t.Run("ours", func(t *testing.T) {
		m.t = t
		g := m.mustMkdir(root, "x1")
		c.wantLayouts("/x1", third["x1"]...)
		if _, err := os.Stat(filepath.Join(real, "x1")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(real, "x1", "f"), []byte("hello"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := m.lookup(g, "f"); err != nil {
			t.Error(err)
		}
		c.wantLayouts("/x1", third["x1"]...)
		if got := c.xattr(m.hashedIn(root, "x1"), "/x1", keyMDS); got != "00000000" {
			t.Errorf("mds %q", got)
		}
	})
	t.Run("theirs", func(t *testing.T) {
		m.t = t
		if err := os.Mkdir(filepath.Join(real, "dirB"), 0o755); err != nil {
			t.Fatal(err)
		}
		m.take()
		m.mustLookup(root, "dirB")
		if got := m.take(); len(got) != 3 {
			t.Errorf("something to heal?\n%s", strings.Join(got, "\n"))
		}
		c.wantLayouts("/dirB", third["dirB"]...)
		if err := m.rmdirName(root, "dirB"); err != nil {
			t.Error(err)
		}
		testenv.Wait(t, 5*time.Second, "the other client sees it gone", func() bool {
			_, err := os.Stat(filepath.Join(real, "dirB"))
			return errors.Is(err, os.ErrNotExist)
		})
	})
	t.Run("missing", func(t *testing.T) { // on one brick: made as their client makes it
		m.t = t
		var all [2][]string
		for i, name := range []string{"gone1", "gone2"} {
			g := m.mustMkdir(root, name)
			if err := m.setx(g, "user.k", "v"); err != nil {
				t.Fatal(err)
			}
			victim := (m.hashedIn(root, name) + 1) % 3
			c.remove(victim, "/"+name)
			if i == 0 {
				m.mustLookup(root, name)
			} else {
				testenv.Wait(t, 10*time.Second, "their client heals it", func() bool {
					os.Stat(filepath.Join(real, name))
					return c.xattr(victim, "/"+name, fop.XattrDHT) != "" && c.xattr(victim, "/"+name, "user.k") != ""
				})
			}
			all[i] = append(c.layouts("/"+name), c.xattr(victim, "/"+name, "user.k"))
			for _, l := range all[i][:3] {
				if !strings.HasPrefix(l, "1 ") {
					t.Errorf("%s: %q", name, all[i])
				}
			}
		}
		if all[0][3] != all[1][3] {
			t.Errorf("%q and %q", all[0], all[1])
		}
	})
	t.Run("unlinked", func(t *testing.T) { // while open: no lookup finds it, these bricks do not know its gfid
		m.t = t
		fd := m.mustCreate(root, "open")
		m.mustWrite(fd, 0, "content")
		if err := m.unlinkName(root, "open"); err != nil {
			t.Fatal(err)
		}
		top := m.graph.Top()
		for _, q := range []fop.Request{
			&fop.Fstat{GFID: fd.GFID, Fd: fd},
			&fop.Fsetattr{GFID: fd.GFID, Fd: fd, Stat: fop.Iatt{Mode: 0o600}, Valid: fop.SetMode},
			&fop.Fsetxattr{GFID: fd.GFID, Fd: fd, Dict: fop.NewDict(fop.Pair{Key: "user.k", Val: fop.Str("v")})},
			&fop.Fgetxattr{GFID: fd.GFID, Fd: fd, Name: "user.k"},
			&fop.Ftruncate{GFID: fd.GFID, Fd: fd, Offset: 4},
			&fop.Lk{Header: fop.Header{Cred: fop.Cred{Owner: "me"}}, GFID: fd.GFID, Fd: fd, Cmd: fop.LkSet, Type: fop.LockWrite, Flock: fop.Flock{Type: fop.LockWrite, Owner: "me"}},
			&fop.Fsync{GFID: fd.GFID, Fd: fd},
			&fop.Flush{GFID: fd.GFID, Fd: fd},
		} {
			// By its gfid it is gone, and asking for it leaves nothing remembered.
			if _, err := fop.Call(t.Context(), top, &fop.Stat{GFID: fd.GFID}); fop.Errno(err) != syscall.ENOENT && fop.Errno(err) != syscall.ESTALE {
				t.Errorf("stat by gfid: %v", err)
			}
			if _, err := top.Do(t.Context(), q); err != nil {
				t.Errorf("%v: %v", q.Op(), err)
			}
		}
		if got := m.read(fd); got != "cont" {
			t.Errorf("it has %q", got)
		}
		m.release(fd)
	})
	t.Run("together", func(t *testing.T) {
		m.t = t
		top := m.mustMkdir(root, "top")
		other := c.mount(0)
		end := time.Now().Add(4 * time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		odd := map[string]int{}
		note := func(who string, err error) {
			if e := fop.Errno(err); err != nil && e != syscall.EEXIST && e != syscall.ENOENT && e != syscall.ESTALE {
				mu.Lock()
				odd[fmt.Sprint(who, ": ", e)]++
				mu.Unlock()
			}
		}
		for w := range 6 {
			wg.Go(func() {
				for i := w; time.Now().Before(end); i++ {
					name := fmt.Sprint("d", i%7)
					switch w {
					case 0:
						_, err := m.tryMkdir(top, name)
						note("mkdir", err)
					case 1:
						note("rmdir", m.rmdirName(top, name))
					case 2:
						_, err := other.lookup(top, name)
						note("lookup", err)
					case 3:
						note("their mkdir", os.Mkdir(filepath.Join(real, "top", name), 0o755))
					case 4:
						note("their rmdir", os.Remove(filepath.Join(real, "top", name)))
					case 5:
						_, err := other.tryMkdir(top, name)
						note("other mkdir", err)
					}
				}
			})
		}
		wg.Wait()
		m.settle()
		other.settle()
		t.Logf("odd errors: %v", odd)
		for i := range 7 {
			name := fmt.Sprint("d", i)
			_, err := m.lookup(top, name)
			all := c.layouts("/top/" + name)
			for k, l := range all {
				if (l == "gone") != (err != nil) || l == "none" {
					t.Errorf("%s: %v, brick %d %s", name, err, k, l)
				}
				if a, b := c.xattr(k, "/top/"+name, fop.XattrGFID), c.xattr(0, "/top/"+name, fop.XattrGFID); a != b {
					t.Errorf("%s: gfid %s and %s", name, a, b)
				}
			}
			if err == nil {
				if l, err := m.layoutOf(t.Context(), m.mustLookup(top, name).GFID); err != nil || !l.health().fine() {
					t.Errorf("%s: %v, %v", name, l, err)
				}
			}
		}
	})
}
