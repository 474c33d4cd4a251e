package cli

import "testing"

func TestOnMount(t *testing.T) {
	const table = `21 28 0:20 / /proc rw,relatime shared:5 - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
60 28 0:48 / /mnt/data rw,relatime shared:31 - fuse.glusterfs node1:/data rw,user_id=0
61 28 0:49 / /mnt/with\040blank rw,relatime - fuse.glusterfs node1:photos/2026 rw
62 60 0:50 / /mnt/data/inside rw,relatime - tmpfs tmpfs rw
63 28 0:48 /sub /mnt/bound rw,relatime shared:31 - fuse.glusterfs node1:/data rw,user_id=0
64 28 0:51 / /mnt/bad rw - fuse.glusterfs nothing rw
garbage
`
	for _, tt := range []struct {
		name, want string
	}{
		{"/mnt/data/a/b", "gluster://node1/data/a/b"},
		{"/mnt/data", "gluster://node1/data/"},
		{"/mnt/database/a", ""},
		{"/mnt/with blank/x", "gluster://node1/photos/2026/x"},
		{"/mnt/data/inside/x", ""},
		{"/mnt/bound/y", "gluster://node1/data/sub/y"},
		{"/mnt/bad/y", ""},
		{"/etc/passwd", ""},
	} {
		got, ok := onMount(table, tt.name)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, ok, tt.want)
		}
	}
}

func FuzzOnMount(f *testing.F) {
	f.Add(`60 28 0:48 / /mnt/d\040a rw - fuse.glusterfs node1:/data rw`, "/mnt/d a/x")
	f.Fuzz(func(t *testing.T, table, name string) { onMount(table, name) })
}
