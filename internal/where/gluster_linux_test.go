package where

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
)

// On a volume of GlusterFS, used by its own client, the reports say what the
// directories of the bricks say: layouts, places, link files, marks of a brick
// that was away, and bricks that are down.
func TestOnGluster(t *testing.T) {
	g := testenv.Gluster(t)
	disk := testenv.LoopFS(t, "xfs", 400)
	var dirs []string
	for i := range 4 {
		dirs = append(dirs, fmt.Sprintf("%s/b%d", disk, i))
	}
	g.Create(t, "v", append([]string{"replica", "2"}, dirs...)...)
	g.Set(t, "v", "cluster.self-heal-daemon", "off", "performance.write-behind", "off")
	g.StartVolume(t, "v")
	mnt := g.Mount(t, "v")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(mnt+"/dir", 0o755))
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("f%d", i)
		must(os.WriteFile(mnt+"/dir/"+name, []byte(strings.Repeat("x", i)), 0o640))
		names = append(names, name)
	}
	for i := range 8 { // of these about half get a link file
		name := fmt.Sprintf("renamed%d", i)
		must(os.Rename(mnt+"/dir/"+names[i], mnt+"/dir/"+name))
		names[i] = name
	}
	must(os.Symlink("dir", mnt+"/soft"))

	find := func(name string) *Report {
		t.Helper()
		s, err := mount.Open(t.Context(), mount.Config{Volume: "v", Servers: []volserver.Server{mustServer(t, g.IP)},
			Registry: clientside.Registry(), Dial: g.DialContext})
		must(err)
		defer s.Close(context.Background())
		r, err := Find(t.Context(), s, fop.Cred{PID: 1}, name)
		must(err)
		return r
	}
	links := 0
	for _, name := range names {
		r := find("/soft/../soft/" + name)
		if r.Path != "/dir/"+name || r.Type != "file" || r.Err() != nil {
			t.Errorf("%s: %s is a %s, %v", name, r.Path, r.Type, r.Err())
		}
		cached := 0
		for i, dir := range dirs {
			c := r.Subvolumes[i/2].Copies[i%2]
			if !c.Up || c.Brick != g.IP+":"+dir || c.Client != fmt.Sprintf("v-client-%d", i) || len(c.Pending) > 0 || c.Dirty != nil {
				t.Errorf("%s, brick %d: %+v", name, i, c)
			}
			file := dir + "/dir/" + name
			st, err := os.Lstat(file)
			if c.Exists != (err == nil) {
				t.Errorf("%s on brick %d: reported %v, in truth %v", name, i, c.Exists, err)
			}
			if err != nil {
				continue
			}
			linkto := xattr(file, "trusted.glusterfs.dht.linkto")
			if c.Linkto != strings.TrimRight(linkto, "\x00") || c.GFID != gfidText(xattr(file, "trusted.gfid")) || c.Size != uint64(st.Size()) {
				t.Errorf("%s on brick %d: %+v, in truth linkto %q, %d bytes", name, i, c, linkto, st.Size())
			}
			if linkto == "" {
				cached = i / 2
			} else {
				links++
			}
			if c.Linkto != "" && r.HashedSubvolume != fmt.Sprintf("v-replicate-%d", i/2) {
				t.Errorf("%s has a link file on brick %d, but is hashed to %s", name, i, r.HashedSubvolume)
			}
		}
		if want := fmt.Sprintf("v-replicate-%d", cached); !slices.Equal(r.CachedSubvolumes, []string{want}) {
			t.Errorf("%s is on %v, in truth on %s", name, r.CachedSubvolumes, want)
		}
	}
	if links == 0 {
		t.Error("no renamed file has a link file; the test shows less than it should")
	}

	d := find("/dir")
	for i, dir := range dirs {
		x := xattr(dir+"/dir", "trusted.glusterfs.dht")
		want := fmt.Sprintf("%x %x", x[8:12], x[12:16])
		for _, r := range d.Layout {
			if r.Subvolume == fmt.Sprintf("v-replicate-%d", i/2) && r.Start+" "+r.Stop != want {
				t.Errorf("brick %d gives %s to %s, in truth %s", i, r.Start+" "+r.Stop, r.Subvolume, want)
			}
		}
	}
	if len(d.Layout) != 2 || d.Layout[0].Start != "00000000" || d.Layout[1].Stop != "ffffffff" || !slices.Equal(d.CachedSubvolumes, []string{"v-replicate-0", "v-replicate-1"}) {
		t.Errorf("directory: %+v", d)
	}
	if r := find("/dir/nothing"); r.Err() == nil || r.Hash == "" || r.HashedSubvolume == "" || len(r.CachedSubvolumes) > 0 {
		t.Errorf("what is not there: %+v", r)
	}

	// A brick goes away; its partner notes what it misses.
	victim := names[slices.IndexFunc(names, func(n string) bool {
		_, err := os.Lstat(dirs[0] + "/dir/" + n)
		return err == nil && isData(dirs[0]+"/dir/"+n)
	})]
	g.KillBrick(t, "v", dirs[0])
	testenv.Wait(t, 20*time.Second, "write without the brick", func() bool {
		return os.WriteFile(mnt+"/dir/"+victim, []byte("written while a brick was away"), 0o640) == nil &&
			strings.Trim(xattr(dirs[1]+"/dir/"+victim, "trusted.afr.v-client-0"), "\x00") != ""
	})
	r := find("/dir/" + victim)
	gone, left := r.Subvolumes[0].Copies[0], r.Subvolumes[0].Copies[1]
	if gone.Up || gone.State() != "down" {
		t.Errorf("the brick that is down: %+v", gone)
	}
	if left.State() != "marked" || len(left.Pending) != 1 || left.Pending[0].Client != "v-client-0" || left.Pending[0].Brick != g.IP+":"+dirs[0] || left.Pending[0].Data == 0 {
		t.Errorf("its partner: %+v", left)
	} else if w := left.Words(); len(w) == 0 || !strings.Contains(w[0], "brick "+g.IP+":"+dirs[0]+" misses ") || !strings.Contains(w[0], "data change") {
		t.Errorf("in words: %q", w)
	}
	m, _ := parseMarks([]byte(xattr(dirs[1]+"/dir/"+victim, "trusted.afr.v-client-0")))
	if len(left.Pending) == 1 && left.Pending[0].Marks != m {
		t.Errorf("marks %+v, in truth %+v", left.Pending[0].Marks, m)
	}
}

func isData(file string) bool { return xattr(file, "trusted.glusterfs.dht.linkto") == "" }

func mustServer(t *testing.T, ip string) volserver.Server {
	s, err := volserver.ParseServer(ip)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func xattr(file, key string) string {
	b := make([]byte, 1024)
	n, err := unix.Lgetxattr(file, key, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

func gfidText(raw string) string {
	var g fop.GFID
	copy(g[:], raw)
	return g.String()
}
