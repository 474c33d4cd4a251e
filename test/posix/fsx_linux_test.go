package posix

import (
	"context"
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/test/posix/fsx"
)

var (
	fsxOps  = flag.Int("fsx.ops", 600, "operations of each fsx run")
	fsxSeed = flag.Uint64("fsx.seed", 1, "seed of fsx")
	fsxFile = flag.String("fsx.paths", "", "what TestFsxChild works on: names of one file on its mounts, by commas")
	fsxO    = flag.Bool("fsx.direct", false, "TestFsxChild opens with O_DIRECT")
)

// TestFsxChild is fsx on any file: go test ./test/posix -run TestFsxChild -args -fsx.paths /mnt/a/f,/mnt/b/f -fsx.ops 100000
// The other tests run it inside of their Node.
func TestFsxChild(t *testing.T) {
	if *fsxFile == "" {
		return // nothing asked for
	}
	c := fsx.Config{Paths: strings.Split(*fsxFile, ","), Seed: *fsxSeed, Ops: *fsxOps, Direct: *fsxO}
	if len(c.Paths) > 1 {
		c.Turn, c.Pause = max(100, c.Ops/100), 1200*time.Millisecond // attributes are believed for a second
	}
	if err := fsx.Run(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations", c.Ops)
}

// fsx runs fsx on files of the same name in these directories.
func (l *lab) fsx(t testing.TB, name string, ops int, dirs []string, args ...string) {
	t.Helper()
	paths := make([]string, len(dirs))
	for i, dir := range dirs {
		paths[i] = filepath.Join(dir, name)
	}
	out, err := l.again(t, "^TestFsxChild$", append([]string{"-fsx.paths", strings.Join(paths, ","), "-fsx.ops", itoa(ops), "-fsx.seed", itoa(int(*fsxSeed))}, args...)...)
	if err != nil || !strings.Contains(out, itoa(ops)+" operations") {
		t.Errorf("fsx %s on %v: %v\n%s", name, args, err, failures(out))
	}
}

// Random operations on a file through our mount: with the caches that a volume
// has by default, without, with O_DIRECT, with the kernel's own, and on two
// mounts in turns.
func TestFsx(t *testing.T) {
	for _, s := range shapes {
		t.Run("our bricks "+s.name, func(t *testing.T) { fsxOn(t, ourVolume(t, s, 512)) })
	}
	t.Run("GlusterFS bricks 2x2", func(t *testing.T) { fsxOn(t, realVolume(t, shapes[2], 512)) })
}

func fsxOn(t *testing.T, l *lab) {
	a := l.mount(t)
	b := l.mount(t, "--direct-io-mode=on", "--attribute-timeout=0", "--entry-timeout=0")
	l.fsx(t, "plain", *fsxOps, []string{a})
	l.fsx(t, "direct", *fsxOps, []string{a}, "-fsx.direct")
	l.fsx(t, "uncached", *fsxOps, []string{b})
	l.fsx(t, "turns", *fsxOps, []string{a, b})
	c := l.mount(t, "--kernel-writeback-cache=on", "--fopen-keep-cache=on")
	l.fsx(t, "writeback", *fsxOps, []string{c})
}
