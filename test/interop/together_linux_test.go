package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/gfapi"
)

// What each client does in TestTogether, and how often.
const (
	rounds   = 60
	counters = 3
	// largeEnough is more than quick-read caches: it gives the contents of small
	// files from memory for a second, whatever others wrote under locks.
	largeEnough = 100_000
)

// TestTogether has a real FUSE client and ours work on one volume at once:
// counting and appending in shared files under locks, making and renaming names
// in a shared directory. Nothing may be lost, and both must see the same.
func TestTogether(t *testing.T) {
	for _, start := range []func(testing.TB) *server{realBrick, ourBrick} {
		s := start(t)
		t.Run(s.name, func(t *testing.T) { together(t, s) })
	}
}

func together(t *testing.T, s *server) {
	// The kernel would read what it cached, locks or not.
	dir := s.mount(t, "direct-io-mode=enable")
	real := startWorker(t, s.node, dir)
	// Attributes of a second ago would do for the real client, whose mount has none.
	vol := mountLibrary(t, s, gfapi.WithXlatorOption("*-md-cache", "pass-through", "on"))
	if err := vol.Mkdir("shared", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range counters {
		if err := vol.WriteFile(fmt.Sprintf("counter%d", i), make([]byte, largeEnough), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := vol.WriteFile("log", nil, 0o666); err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	wg.Go(func() { realShare(t, real) })
	wg.Go(func() {
		if err := ourShare(vol); err != nil {
			t.Errorf("our client: %v", err)
		}
	})
	wg.Wait()
	if t.Failed() {
		return
	}

	for i := range counters {
		b, err := vol.ReadFile(fmt.Sprintf("counter%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if n := binary.BigEndian.Uint64(b); n != 2*rounds {
			t.Errorf("counter %d is %d, want %d: increments were lost", i, n, 2*rounds)
		}
	}
	log, err := vol.ReadFile("log")
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"real", "ours"} {
		for i := range rounds {
			if !bytes.Contains(log, record(who, i)) {
				t.Errorf("record %q is lost", record(who, i))
			}
		}
	}
	if want := 2 * rounds * len(record("real", 0)); len(log) != want {
		t.Errorf("the log has %d bytes, want %d", len(log), want)
	}

	library := &library{vol: vol}
	for _, o := range []op{{Do: "readdir", Path: "shared"}, {Do: "readdir", Path: "."}, {Do: "readfile", Path: "log"}, {Do: "stat", Path: "counter0"}} {
		a, b := real.Do(o), library.Do(o)
		if a != b {
			t.Errorf("%v: the real client sees %v, ours %v", o, a, b)
		}
		if o.Path == "shared" && a.N != 2*rounds {
			t.Errorf("%d names in the shared directory, want %d", a.N, 2*rounds)
		}
	}
	if bad := faults(describe(t, s.brick)); len(bad) > 0 {
		t.Errorf("wrong on the brick: %q", bad)
	}
}

func record(who string, i int) []byte { return fmt.Appendf(nil, "%s %06d\n", who, i) }

// realShare is the real client's part.
func realShare(t *testing.T, w *worker) {
	must := func(o op) result {
		r := w.Do(o)
		if r.Errno != "" {
			t.Errorf("real client: %v: %v", o, r)
		}
		return r
	}
	for i := range counters {
		must(op{Do: "open", H: 1 + i, Path: fmt.Sprintf("counter%d", i), Flags: unix.O_RDWR})
	}
	must(op{Do: "open", H: 9, Path: "log", Flags: unix.O_RDWR})
	for i := range rounds {
		for c := range counters {
			must(op{Do: "count", H: 1 + c})
		}
		must(op{Do: "record", H: 9, Value: record("real", i)})
		must(op{Do: "mkdir", Path: fmt.Sprintf("shared/real-%d.new", i), Mode: 0o755})
		must(op{Do: "rename", Path: fmt.Sprintf("shared/real-%d.new", i), To: fmt.Sprintf("shared/real-%d", i)})
	}
	for _, h := range []int{1, 2, 3, 9} {
		must(op{Do: "close", H: h})
	}
}

// locked does f while it has the whole file locked.
func (s *system) locked(fd int, f func() error) error {
	if r := s.lock(fd, op{Do: "lockwait", Flags: unix.F_WRLCK}); r.Errno != "" {
		return fmt.Errorf("lock: %s", r.Errno)
	}
	err := f()
	// Write-behind would send what was written after the unlock.
	if err == nil {
		err = unix.Fsync(fd)
	}
	if r := s.lock(fd, op{Do: "lock", Flags: unix.F_UNLCK}); r.Errno != "" {
		return fmt.Errorf("unlock: %s", r.Errno)
	}
	return err
}

// count adds one to the number in a file.
func (s *system) count(fd int) error {
	return s.locked(fd, func() error {
		b := make([]byte, 8)
		if _, err := preadFull(fd, b, 0); err != nil {
			return err
		}
		binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+1)
		_, err := unix.Pwrite(fd, b, 0)
		return err
	})
}

// record appends to a file, at the end as it is under the lock.
func (s *system) record(fd int, b []byte) error {
	return s.locked(fd, func() error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		_, err := unix.Pwrite(fd, b, st.Size)
		return err
	})
}

// ourShare is our client's part.
func ourShare(vol *gfapi.Volume) error {
	files := map[string]*gfapi.File{}
	for _, name := range []string{"counter0", "counter1", "counter2", "log"} {
		f, err := vol.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files[name] = f
	}
	locked := func(f *gfapi.File, do func() error) error {
		if err := f.Lock(gfapi.WriteLock, 0, 0); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return f.Unlock(0, 0)
	}
	for i := range rounds {
		for c := range counters {
			f := files[fmt.Sprintf("counter%d", c)]
			err := locked(f, func() error {
				b := make([]byte, 8)
				if _, err := f.ReadAt(b, 0); err != nil {
					return err
				}
				binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+1)
				_, err := f.WriteAt(b, 0)
				return err
			})
			if err != nil {
				return err
			}
		}
		f := files["log"]
		err := locked(f, func() error {
			fi, err := f.Stat()
			if err == nil {
				_, err = f.WriteAt(record("ours", i), fi.Size())
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := vol.WriteFile(fmt.Sprintf("shared/ours-%d.new", i), record("ours", i), 0o644); err != nil {
			return err
		}
		if err := vol.Rename(fmt.Sprintf("shared/ours-%d.new", i), fmt.Sprintf("shared/ours-%d", i)); err != nil {
			return err
		}
	}
	return nil
}
