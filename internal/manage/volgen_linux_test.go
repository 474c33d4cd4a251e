package manage

import (
	"strconv"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// Our volfiles are glusterd's, byte for byte.
func TestVolfilesAreGlusterds(t *testing.T) {
	g := testenv.Gluster(t)
	dirs := []string{testenv.LoopFS(t, "xfs", 300) + "/a", testenv.LoopFS(t, "xfs", 300) + "/b"}
	for _, c := range []struct {
		volume string
		dirs   []string
	}{{"one", dirs[:1]}, {"two", dirs}} {
		t.Run(c.volume, func(t *testing.T) {
			g.Create(t, c.volume, c.dirs...)
			theirs := g.Volfile(t, c.volume, "trusted-"+c.volume+".tcp-fuse.vol")
			f, err := volfile.Parse(theirs)
			if err != nil {
				t.Fatal(err)
			}
			client := f.Volumes[0]
			host, _ := client.Get("remote-host")
			v := &Volume{Name: c.volume}
			for _, d := range c.dirs {
				v.Bricks = append(v.Bricks, Brick{Host: host, Path: d})
			}
			v.User, _ = client.Get("username")
			v.Password, _ = client.Get("password")
			for i, b := range v.Bricks {
				theirs := g.Volfile(t, c.volume, c.volume+"."+host+"."+DashedPath(b.Path)+".vol")
				bf, err := volfile.Parse(theirs)
				if err != nil {
					t.Fatal(err)
				}
				id, _ := bf.Volumes[0].Get("volume-id")
				if v.ID, err = fop.ParseGFID(id); err != nil {
					t.Fatal(err)
				}
				shared, _ := bf.Volumes[0].Get("shared-brick-count")
				// The test's glusterd is bound to one address and says so.
				bf.Top().Delete("transport.socket.bind-address")
				sameText(t, "brick "+strconv.Itoa(i), BrickVolfile(v, b, shared).String(), bf.String())
			}
			sameText(t, "trusted client", ClientVolfile(v, "", true, nil).String(), theirs)
			sameText(t, "client", ClientVolfile(v, "", false, nil).String(), g.Volfile(t, c.volume, c.volume+".tcp-fuse.vol"))
			g.MustCLI(t, "volume", "delete", c.volume)
			for _, d := range c.dirs {
				g.MustRun(t, "rm", "-rf", d)
			}
		})
	}
}

func sameText(t *testing.T, what, ours, theirs string) {
	t.Helper()
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Errorf("%s differs at line %d:\nours   %q\ntheirs %q", what, i+1, a[min(i, len(a)):min(i+3, len(a))], b[min(i, len(b)):min(i+3, len(b))])
			return
		}
	}
}
