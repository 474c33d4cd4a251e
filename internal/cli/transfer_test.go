package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// cutFile fails every write after a number of them, as a lost network does.
type cutFile struct {
	treeFile
	left *atomic.Int64
}

var errCut = errors.New("cut off")

func (f cutFile) WriteAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) < 0 {
		return 0, errCut
	}
	return f.treeFile.WriteAt(p, off)
}

type cutTree struct {
	localTree
	left atomic.Int64
}

func (c *cutTree) OpenFile(name string, flag int, perm os.FileMode) (treeFile, error) {
	f, err := c.localTree.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return cutFile{f, &c.left}, nil
}

func newTransfer(dst tree) *transfer {
	return &transfer{src: localTree{}, dst: dst, workers: 4, meter: newMeter(io.Discard, "", false), report: func(error) {}}
}

// A copy that is cut off leaves no file of the final name; the same command
// then goes on where it stopped, and the result is right.
func TestTransferResumes(t *testing.T) {
	dir := t.TempDir()
	want := make([]byte, 64<<20+12345)
	rand.New(rand.NewSource(1)).Read(want)
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, want, 0o640); err != nil {
		t.Fatal(err)
	}
	cut := &cutTree{}
	cut.left.Store(40)
	if err := newTransfer(cut).copy(context.Background(), from, to, false); !errors.Is(err, errCut) {
		t.Fatalf("the copy ended with %v, want %v", err, errCut)
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("half a file has the final name: %v", err)
	}
	second := newTransfer(localTree{})
	if err := second.copy(context.Background(), from, to, false); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the resumed copy differs (%d bytes, want %d; %v)", len(got), len(want), err)
	}
	if second.meter.Resumed != 1 || second.meter.Bytes >= int64(len(want)) {
		t.Errorf("resumed %d, copied %d of %d bytes: nothing was kept", second.meter.Resumed, second.meter.Bytes, len(want))
	}
	third := newTransfer(localTree{})
	if err := third.copy(context.Background(), from, to, false); err != nil || third.meter.Skipped != 1 || third.meter.Bytes != 0 {
		t.Errorf("a third copy: %v, unchanged %d, bytes %d", err, third.meter.Skipped, third.meter.Bytes)
	}
	des, _ := os.ReadDir(dir)
	if len(des) != 2 {
		t.Errorf("left behind: %v", des)
	}
}

// A source that changed in the meantime is not glued to the old beginning.
func TestTransferOfChangedSource(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	os.WriteFile(from, bytes.Repeat([]byte("a"), 40<<20), 0o644)
	cut := &cutTree{}
	cut.left.Store(30)
	if err := newTransfer(cut).copy(context.Background(), from, to, false); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("b"), 39<<20)
	os.WriteFile(from, want, 0o644)
	if err := newTransfer(localTree{}).copy(context.Background(), from, to, false); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the copy is not the new source (%v)", err)
	}
}
