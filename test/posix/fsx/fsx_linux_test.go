package fsx

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// The model is right: kernel file systems agree with it.
func TestLocal(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		dir := testenv.LoopFS(t, kind, 300)
		for _, direct := range []bool{false, true} {
			c := Config{Paths: []string{filepath.Join(dir, "f")}, Seed: 1, Ops: 5000, Direct: direct}
			if err := Run(context.Background(), c); err != nil {
				t.Errorf("%s, direct %v: %v", kind, direct, err)
			}
		}
		c := Config{Paths: []string{filepath.Join(dir, "f"), filepath.Join(dir, "..", filepath.Base(dir), "f")}, Seed: 2, Ops: 2000}
		if err := Run(context.Background(), c); err != nil {
			t.Errorf("%s, two names: %v", kind, err)
		}
	}
}

// A model that is wrong is found, and what shows it is shrunk to little.
func TestFindsAndShrinks(t *testing.T) {
	dir := t.TempDir()
	c := Config{Paths: []string{filepath.Join(dir, "f")}, Seed: 3, Ops: 200, Only: []Kind{Write, Truncate, Read, Size}}
	ops := Generate(c)
	// One operation in the middle that must fail.
	for i := 100; i < len(ops); i++ {
		if ops[i].Kind == Read {
			ops[i] = Op{Kind: "no such operation"}
			break
		}
	}
	err := Replay(context.Background(), c, ops)
	var f *Failure
	if !errors.As(err, &f) || len(f.Ops) < 100 {
		t.Fatalf("the failure was not found: %v", err)
	}
	short, err := Shrink(context.Background(), c, f.Ops, 500)
	if err == nil || len(short) != 1 {
		t.Errorf("shrunk to %v: %v", short, err)
	}
	// A file that is not what the model says.
	m := &machine{c: c.defaults(), lacks: map[Kind]bool{}}
	if err := m.begin(); err != nil {
		t.Fatal(err)
	}
	defer m.end()
	if err := m.do(Op{Kind: Write, Off: 10, N: 100, Fill: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Pwrite(m.fd, []byte{0}, 50); err != nil {
		t.Fatal(err)
	}
	if err := m.do(Op{Kind: Read, Off: 0, N: 110}); err == nil {
		t.Error("a byte that changed was not found")
	}
	if err := m.do(Op{Kind: Read, Off: 0, N: 50}); err != nil {
		t.Errorf("what did not change was found to differ: %v", err)
	}
}
