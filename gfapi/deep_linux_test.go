package gfapi

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// TestNetDeep works with paths of 20 000 bytes in 400 levels, over sockets and
// on a disk: GlusterFS itself stops at about 4000.
func TestNetDeep(t *testing.T) {
	v := overTCP(t, cluster(t), WithEntryTimeout(0))
	names := make([]string, 400)
	for i := range names {
		names[i] = fmt.Sprintf("%03d-%s", i, strings.Repeat("d", 46))
	}
	path := strings.Join(names, "/")
	must(t, v.MkdirAll(path, 0o755))
	must(t, v.WriteFile(path+"/motto", []byte("Winter is coming."), 0o644))
	must(t, v.Symlink("motto", path+"/link"))
	must(t, v.Rename(path+"/motto", path+"/motto2"))
	must(t, v.Link(path+"/motto2", path+"/motto"))
	got, err := v.ReadFile(path + "/link")
	must(t, err)
	if string(got) != "Winter is coming." {
		t.Errorf("read %q", got)
	}
	must(t, v.Setxattr(path, "user.depth", []byte("400"), 0))
	list, err := v.ReadDir(path)
	must(t, err)
	if len(list) != 3 {
		t.Errorf("the deepest directory has %v", list)
	}
	// A directory with all below it moves one level up.
	must(t, v.Rename(names[0]+"/"+names[1], "up"))
	moved := "up/" + strings.Join(names[2:], "/") + "/motto2"
	if _, err := v.Stat(moved); err != nil {
		t.Errorf("after a rename at the top: %v", err)
	}
	must(t, v.RemoveAll("up"))
	_, err = v.Stat(moved)
	fails(t, err, fs.ErrNotExist)
}
