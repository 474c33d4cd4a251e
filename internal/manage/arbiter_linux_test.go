package manage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// GlusterFS's own client on an arbiter volume of ours: two bricks have the data,
// the third the names, attributes and, of whole operations, no pending marks.
func TestArbiterWithRealClient(t *testing.T) {
	testenv.Need(t, "glusterfs")
	testenv.NeedRoot(t)
	wythe := filepath.Join(t.TempDir(), "wythe")
	n := testenv.Namespace(t)
	buildWythe(t, wythe)
	dir := testenv.LoopFS(t, "xfs", 300) + "/up"
	n.Start(t, wythe, "up", "--dir", dir, "--distribute", "1", "--arbiter", "1")
	if err := n.WaitPort(context.Background(), DefaultPort); err != nil {
		t.Fatal(err)
	}
	mnt := n.Mount(t, "data")
	content := bytes.Repeat([]byte("sixteen bytes.. "), 4096)
	if err := os.Mkdir(mnt+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := os.WriteFile(fmt.Sprintf("%s/dir/f%d", mnt, i), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Truncate(mnt+"/dir/f1", 100), os.Truncate(mnt+"/dir/f2", 1<<20),
		os.Rename(mnt+"/dir/f3", mnt+"/dir/moved"), os.Remove(mnt + "/dir/f4"),
		os.Chmod(mnt+"/dir/f0", 0o600), unix.Setxattr(mnt+"/dir/f0", "user.k", []byte("v"), 0),
		fallocate(mnt + "/dir/f0"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sizes := map[string]int64{"f0": 1 << 20, "f1": 100, "f2": 1 << 20, "moved": int64(len(content))}
	n.Unmount(t, mnt) // with it go the marks of writes that wait for more
	mnt = n.Mount(t, "data")
	for name, size := range sizes {
		st, err := os.Stat(mnt + "/dir/" + name)
		if err != nil || st.Size() != size {
			t.Errorf("%s on the volume: %v, %v, want %d bytes", name, st, err, size)
		}
		for brick := range 3 {
			file := fmt.Sprintf("%s/brick%d/dir/%s", dir, brick, name)
			st, err := os.Stat(file)
			want := size
			if brick == 2 {
				want = 0
			}
			if err != nil || st.Size() != want {
				t.Errorf("%s: %v, want %d bytes", file, err, want)
				continue
			}
			if name == "f0" {
				v := make([]byte, 10)
				if n, err := unix.Getxattr(file, "user.k", v); err != nil || string(v[:n]) != "v" || st.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v, user.k %q, %v", file, st.Mode(), v, err)
				}
			}
			for _, key := range []string{"trusted.afr.dirty", "trusted.afr.data-client-0", "trusted.afr.data-client-1", "trusted.afr.data-client-2"} {
				v := make([]byte, 12)
				if _, err := unix.Getxattr(file, key, v); err == nil && !bytes.Equal(v, make([]byte, 12)) {
					t.Errorf("%s: %s is %x", file, key, v)
				}
			}
		}
	}
	if b, err := os.ReadFile(mnt + "/dir/moved"); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes read back, %v", len(b), err)
	}
	if des, err := os.ReadDir(mnt + "/dir"); err != nil || len(des) != len(sizes) {
		t.Errorf("entries %v, %v", des, err)
	}
}

func fallocate(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, 1<<20)
}
