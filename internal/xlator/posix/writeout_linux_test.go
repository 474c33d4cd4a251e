package posix

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
)

// TestWriteOutDecisions: what is begun with, and when.
func TestWriteOutDecisions(t *testing.T) {
	const mib = 1 << 20
	type step struct {
		off, n     uint64
		from, size uint64
		done       bool // what was begun is through before this
	}
	for name, steps := range map[string][]step{
		"in sequence": {
			{0, 60 * mib, 0, 0, false}, {60 * mib, 7 * mib, 0, 0, false}, {67 * mib, mib, 0, 64 * mib, false},
			{68 * mib, 20 * mib, 0, 0, false}, // as long as that is under way
			{88 * mib, mib, 64 * mib, 21 * mib, true}, {89 * mib, 7 * mib, 0, 0, true}, {96 * mib, mib, 85 * mib, 8 * mib, true},
		},
		"out of order": {
			{2 * mib, mib, 0, 0, false}, {0, mib, 0, 0, false}, {mib, mib, 0, 0, false}, {5 * mib, mib, 0, 0, false},
			{3 * mib, 2 * mib, 0, 0, false}, {6 * mib, 62 * mib, 0, 64 * mib, false},
		},
		"from somewhere on": {{100 * mib, 60 * mib, 0, 0, false}, {160 * mib, 8 * mib, 100 * mib, 64 * mib, false}},
		"here and there":    {{0, 8 * mib, 0, 0, false}, {100 * mib, 8 * mib, 0, 0, false}, {8 * mib, 8 * mib, 0, 0, false}, {50 * mib, 8 * mib, 0, 0, false}},
		"over and over":     {{0, 7 * mib, 0, 0, false}, {0, 7 * mib, 0, 0, false}, {0, 7 * mib, 0, 0, false}, {0, 7 * mib, 0, 0, false}},
	} {
		var w writeOut
		for i, s := range steps {
			if s.done {
				w.busy = false
			}
			if from, size := w.wrote(s.off, s.n); size != s.size || size > 0 && from != s.from {
				t.Errorf("%s, step %d: %d bytes from %d, want %d from %d", name, i, size, from, s.size, s.from)
			}
		}
	}
}

// dirty returns how many bytes of a file are in memory only.
func dirty(t *testing.T, path string) uint64 {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &st, 0); err == unix.ENOSYS {
		testenv.Missing(t, "the kernel has no cachestat(2)")
	} else if err != nil {
		t.Fatal(err)
	}
	return st.Dirty * uint64(unix.Getpagesize())
}

// TestWriteOut: of what is written from front to back little is left for an fsync;
// what is written here and there is left to the kernel.
func TestWriteOut(t *testing.T) {
	r := newRig(t)
	const piece, pieces = 1 << 20, 100
	data := make([]byte, piece)
	write := func(name string, step int) uint64 {
		g := r.create(fop.RootGFID, name, "")
		fd := &fop.Fd{GFID: g, Flags: unix.O_RDWR}
		must(r, &fop.Open{GFID: g, Fd: fd, Flags: unix.O_RDWR})
		before := r.Brick.outs.begun.Load()
		for i := range pieces {
			must(r, &fop.Write{GFID: g, Fd: fd, Offset: uint64(i*step%pieces) * piece, Data: data})
			r.Brick.outs.wg.Wait()
		}
		must(r, &fop.Release{Fd: fd})
		return r.Brick.outs.begun.Load() - before
	}
	if n := write("stream", 1); n != 1+(pieces*piece-writeOutSlack-writeOutFirst)/writeOutStep {
		t.Errorf("a stream of %d MiB was begun to be written %d times", pieces, n)
	}
	const left = writeOutStep + writeOutSlack
	testenv.Wait(t, 10*time.Second, "a stream that is on disk but for its end", func() bool { return dirty(t, filepath.Join(r.dir, "stream")) <= left })
	if n := write("scattered", 17); n != 0 {
		t.Errorf("scattered writes were begun to be written %d times", n)
	}
}

// BenchmarkWriteSync writes a file from front to back and syncs it.
func BenchmarkWriteSync(b *testing.B) {
	r := benchRig(b)
	g := r.create(fop.RootGFID, "f", "")
	fd := &fop.Fd{GFID: g, Flags: unix.O_RDWR}
	must(r, &fop.Open{GFID: g, Fd: fd, Flags: unix.O_RDWR})
	q := &fop.Write{GFID: g, Fd: fd, Data: make([]byte, 1<<20)}
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		must(r, &fop.Ftruncate{GFID: g, Fd: fd})
		for q.Offset = 0; q.Offset < size; q.Offset += uint64(len(q.Data)) {
			must(r, q)
		}
		must(r, &fop.Fsync{GFID: g, Fd: fd})
	}
}
