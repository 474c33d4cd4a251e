package gfapi

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestGluster uses a volume of the real GlusterFS: its glusterd, its brick.
func TestGluster(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	g := testenv.Gluster(t)
	g.Volume(t, "data", testenv.LoopFS(t, "xfs", 1024)+"/brick")
	v, err := Mount(context.Background(), g.IP, "data", WithLogger(quiet), WithDialer(g.DialContext), WithCredentials(Cred{}))
	must(t, err)
	defer func() { must(t, v.Unmount()) }()
	mnt := g.Mount(t, "data") // the real client beside ours

	t.Run("fs", func(t *testing.T) {
		must(t, v.MkdirAll("fs/b", 0o755))
		must(t, v.WriteFile("fs/b/f", []byte("0123456789"), 0o600))
		must(t, v.Symlink("b/f", "fs/link"))
		sub, err := v.Sub("fs")
		must(t, err)
		if err := fstest.TestFS(sub.FS(), "b/f", "link"); err != nil {
			t.Error(err)
		}
	})
	t.Run("transfers", func(t *testing.T) {
		data := bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog.\n"), 200_000) // 9 MB
		must(t, v.WriteFile("big", data, 0o644))
		if got, err := os.ReadFile(filepath.Join(mnt, "big")); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the real client reads %d bytes: %v", len(got), err)
		}
		must(t, os.WriteFile(filepath.Join(mnt, "big2"), data, 0o644))
		if got, err := v.ReadFile("big2"); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes: %v", len(got), err)
		}
		f, err := v.Open("big2")
		must(t, err)
		var out bytes.Buffer
		if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("copied %d bytes: %v", out.Len(), err)
		}
		must(t, f.Close())
	})
	t.Run("permissions", func(t *testing.T) {
		must(t, v.WriteFile("secret", []byte("x"), 0o600))
		u := v.As(Cred{UID: 1000, GID: 1000})
		_, err := u.ReadFile("secret")
		fails(t, err, fs.ErrPermission)
		_, err = u.Open("secret")
		fails(t, err, fs.ErrPermission)
		fails(t, u.WriteFile("new", nil, 0o644), fs.ErrPermission)
	})
	t.Run("listing", func(t *testing.T) {
		must(t, v.Mkdir("many", 0o755))
		for i := range 2000 {
			must(t, v.WriteFile(fmt.Sprintf("many/f%d", i), nil, 0o644))
		}
		list, err := v.ReadDir("many")
		if len(list) != 2000 || err != nil {
			t.Errorf("%d entries, %v", len(list), err)
		}
		must(t, v.RemoveAll("many"))
	})
	t.Run("streams", func(t *testing.T) {
		for seed := range uint64(6) {
			dir := fmt.Sprintf("run%d", seed)
			must(t, v.Mkdir(dir, 0o755))
			sub, err := v.Sub(dir)
			must(t, err)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				compareStreams(t, sub, seed, 300)
				real, err := os.OpenRoot(filepath.Join(mnt, dir))
				must(t, err)
				defer real.Close()
				if d := cmp.Diff(tree(t, &side{root: volumeRoot{sub}}), tree(t, &side{root: localRoot{real}})); d != "" {
					t.Errorf("the real client sees another tree (-ours +real):\n%s", d)
				}
			})
		}
	})
}
