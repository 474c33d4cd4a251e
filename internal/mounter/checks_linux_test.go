package mounter

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMountinfo(t *testing.T) {
	text := `22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / /mnt/a\040b\134c rw,nosuid - fuse.glusterfs n1:/data\040x rw,user_id=0
broken line
41 22 0:36 / /mnt/c rw shared:2 master:1 - fuse.glusterfs n1:/x rw
`
	want := []mountEntry{
		{"22", "/", "rw,relatime", "ext4", "/dev/root"},
		{"40", `/mnt/a b\c`, "rw,nosuid", "fuse.glusterfs", "n1:/data x"},
		{"41", "/mnt/c", "rw", "fuse.glusterfs", "n1:/x"},
	}
	if d := cmp.Diff(want, parseMountinfo(text), cmp.AllowUnexported(mountEntry{})); d != "" {
		t.Error(d)
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add("40 22 0:35 / /mnt/a\\040b rw - fuse.glusterfs n1:/data rw\n")
	f.Add("a - b\n\\7\\777 - ")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMountinfo(text) {
			if m.fsType == "" || m.dir == "" {
				t.Errorf("%q has an entry without type or directory: %+v", text, m)
			}
		}
	})
}
