package fuse

import (
	"encoding/binary"
	"errors"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

func TestMountOptions(t *testing.T) {
	c := Config{ReadOnly: true, MountOptions: []string{"noatime", "nodev", "dev", "nosuid", "context=system_u:object_r:fuse_t:s0", "auto_unmount"}}
	flags, words, err := c.options()
	if err != nil || flags != unix.MS_RDONLY|unix.MS_NOATIME|unix.MS_NOSUID || !slices.Equal(words, []string{"context=system_u:object_r:fuse_t:s0"}) {
		t.Errorf("%#x, %q, %v", flags, words, err)
	}
	c.MountOptions = []string{"sideways"}
	if _, _, err := c.options(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("an unknown option: %v", err)
	}
}

// Nodes are counted exactly, whatever order replies and forgets come in.
func TestNodes(t *testing.T) {
	tab := newNodes(fop.RootGFID, 0, nil)
	a := fop.Iatt{GFID: fop.NewGFID(), Mode: fop.ModeDir | 0o755}
	n := tab.lookup(&a, 1, "a")
	if tab.lookup(&a, 1, "a") != n || tab.get(n.id) != n || tab.find(a.GFID) != n || tab.dir(1, "a") != n || tab.len() != 1 {
		t.Fatal("one object has several nodes")
	}
	tab.forget(n.id, 1)
	if tab.get(n.id) != n {
		t.Fatal("forgotten too early")
	}
	tab.renamed(a.GFID, 1, "b")
	if tab.dir(1, "a") != nil || tab.dir(1, "b") != n {
		t.Error("the directory has its old name")
	}
	tab.forget(n.id, 1)
	tab.forget(n.id, 1)
	tab.forget(1, 99)
	if tab.get(n.id) != nil || tab.find(a.GFID) != nil || tab.dir(1, "b") != nil || tab.len() != 0 || tab.get(1) != tab.root {
		t.Error("something is left")
	}
	again := tab.lookup(&a, 1, "a")
	if again.id == n.id {
		t.Error("a number was given out twice")
	}
	if root := (fop.Iatt{GFID: fop.RootGFID, Mode: fop.ModeDir}); tab.lookup(&root, 1, "x").id != 1 {
		t.Error("the root has another number")
	}
}

// The longest unused nodes are asked back, those that are open are not.
func TestSpareNodes(t *testing.T) {
	var asked []*node
	tab := newNodes(fop.RootGFID, nodeShards, func(n *node) { asked = append(asked, n) })
	mk := func(i byte) *node { // all in one shard
		return tab.lookup(&fop.Iatt{GFID: fop.GFID{0: i + 1}, Mode: fop.ModeRegular}, 1, string('a'+rune(i)))
	}
	first := mk(0)
	f := &file{n: first}
	f.refs.Store(1)
	first.addOpen(f)
	second, third := mk(1), mk(2)
	if len(asked) != 2 || asked[0] != second || asked[1] != third && asked[1] != second {
		t.Errorf("%d nodes were asked back", len(asked))
	}
	if got := first.anyOpen(); got != f {
		t.Error("the open file is not found")
	}
	first.dropOpen(f)
	if first.anyOpen() != nil {
		t.Error("a closed file is found")
	}
	second.unask()
	if tab.outstanding() > 1 {
		t.Errorf("%d are asked back still", tab.outstanding())
	}
}

func TestStatus(t *testing.T) {
	for err, want := range map[error]syscall.Errno{
		nil: 0, syscall.ENOENT: syscall.ENOENT, syscall.ENOSYS: syscall.EOPNOTSUPP, syscall.Errno(524): syscall.EIO, errors.New("?"): syscall.EIO,
	} {
		if got := syscall.Errno(status(err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func FuzzParseGroups(f *testing.F) {
	f.Add([]byte("Name:\tx\nGroups:\t0 10 4294967295 \nNStgid:\t1\n"))
	f.Add([]byte("Groups: 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ids, ok := parseGroups(b); !ok && ids != nil {
			t.Error("groups of nobody")
		}
	})
	ids, ok := parseGroups([]byte("Name:\tx\nGroups:\t0 10 4294967295 \nNStgid:\t1\n"))
	if !ok || !slices.Equal(ids, []uint32{0, 10, 4294967295}) {
		f.Errorf("%v, %v", ids, ok)
	}
}

// What a message says of its sizes is never believed beyond what there is.
func FuzzReplySize(f *testing.F) {
	read := make([]byte, 80)
	binary.NativeEndian.PutUint32(read[4:], opRead)
	binary.NativeEndian.PutUint32(read[inHeaderSize+16:], 1<<31)
	f.Add(read)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < inHeaderSize {
			return // read(2) refuses that
		}
		if n := replySize(b); n < smallSize || n > replyClasses[len(replyClasses)-1] {
			t.Errorf("%d bytes", n)
		}
	})
}
