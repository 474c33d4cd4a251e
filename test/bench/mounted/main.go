// Command mounted is the driver of the benchmarks of mounts: it does one kind of
// work on a directory through the kernel and prints how long it took, in seconds,
// and a checksum of what it read.
//
//	mounted DIR PHASE COUNT BYTES DEPTH
//
// Whoever calls it mounts, and says what of the caches may be warm by pauses
// between the phases. Phases use files that earlier ones made; see main's table.
package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// job is one phase.
type job struct {
	dir                 string
	count, bytes, depth int
	sum                 uint64
	began               time.Time // when the work began, after what had to be prepared
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: mounted DIR PHASE COUNT BYTES DEPTH")
		os.Exit(2)
	}
	j := &job{dir: os.Args[1]}
	j.count, _ = strconv.Atoi(os.Args[3])
	j.bytes, _ = strconv.Atoi(os.Args[4])
	j.depth, _ = strconv.Atoi(os.Args[5])
	phases := map[string]func() error{
		"seqwrite": j.seqwrite, "seqread": func() error { return j.seqread(false) }, "reread": func() error { return j.seqread(true) },
		"randread": func() error { return j.random(false) }, "randwrite": func() error { return j.random(true) },
		"syncwrite": j.syncwrite, "create": j.create, "stat": j.stat, "openread": j.openread,
		"list": func() error { return j.run("ls", "-l", j.files()) }, "relist": j.relist, "rename": j.rename, "unlink": j.unlink,
		"untar": j.untar, "sweep": j.sweep,
	}
	do := phases[os.Args[2]]
	if do == nil || j.count < 1 {
		fmt.Fprintf(os.Stderr, "mounted: no phase %q, or nothing to do\n", os.Args[2])
		os.Exit(2)
	}
	j.began = time.Now()
	if err := do(); err != nil {
		fmt.Fprintf(os.Stderr, "mounted: %s in %s: %v\n", os.Args[2], j.dir, err)
		os.Exit(1)
	}
	fmt.Printf("%.6f %016x\n", time.Since(j.began).Seconds(), j.sum)
}

func (j *job) big() string       { return filepath.Join(j.dir, "big") }
func (j *job) files() string     { return filepath.Join(j.dir, "files") }
func (j *job) file(n int) string { return filepath.Join(j.dir, "files", fmt.Sprintf("file-%06d", n)) }
func (j *job) renamed(n int) string {
	return filepath.Join(j.dir, "files", fmt.Sprintf("name-%06d", n))
}
func fill(b []byte, seed uint64) []byte {
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// aligned is memory for direct I/O.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	off := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[off : off+n]
}

func (j *job) seqwrite() error {
	f, err := os.Create(j.big())
	if err != nil {
		return err
	}
	b := fill(make([]byte, j.bytes), 1)
	for range j.count {
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// seqread reads the file, or reads it twice and takes the time of the second
// reading, which finds what the kernel kept.
func (j *job) seqread(twice bool) error {
	f, err := os.Open(j.big())
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return err
	}
	b := make([]byte, j.bytes)
	for pass := range 2 {
		if pass == 1 && !twice {
			break
		}
		j.began, j.sum = time.Now(), 0
		for n := range j.count {
			if k, err := f.ReadAt(b, int64(n)*int64(j.bytes)); k < len(b) {
				return fmt.Errorf("read %d of %d bytes at %d: %w", k, len(b), n*j.bytes, err)
			}
			j.sum = j.sum*31 + uint64(b[0])<<8 + uint64(b[len(b)-1])
		}
	}
	return nil
}

// random reads or writes pieces of the file that seqwrite made, past the page
// cache, with depth threads.
func (j *job) random(write bool) error {
	st, err := os.Stat(j.big())
	if err != nil {
		return err
	}
	places := int(st.Size()) / j.bytes
	errs := make([]error, j.depth)
	sums := make([]uint64, j.depth)
	var wait sync.WaitGroup
	for k := range j.depth {
		wait.Go(func() {
			fd, err := syscall.Open(j.big(), syscall.O_RDWR|syscall.O_DIRECT|syscall.O_CLOEXEC, 0)
			if err != nil {
				errs[k] = err
				return
			}
			defer syscall.Close(fd)
			b := fill(aligned(j.bytes), 2)
			r := rand.New(rand.NewPCG(uint64(k), 3))
			for range j.count / j.depth {
				off := int64(r.IntN(places)) * int64(j.bytes)
				n := 0
				if write {
					n, err = syscall.Pwrite(fd, b, off)
				} else if n, err = syscall.Pread(fd, b, off); n > 0 {
					sums[k] = sums[k]*31 + uint64(b[0])
				}
				if n != len(b) {
					errs[k] = fmt.Errorf("%d of %d bytes at %d: %w", n, len(b), off, err)
					return
				}
			}
		})
	}
	wait.Wait()
	for k := range j.depth {
		if errs[k] != nil {
			return errs[k]
		}
		j.sum += sums[k]
	}
	return nil
}

func (j *job) syncwrite() error {
	f, err := os.OpenFile(filepath.Join(j.dir, "synced"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	b := fill(make([]byte, j.bytes), 4)
	j.began = time.Now()
	for n := range j.count {
		if _, err := f.WriteAt(b, int64(n)*int64(j.bytes)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

func (j *job) create() error {
	if err := os.Mkdir(j.files(), 0o755); err != nil {
		return err
	}
	b := fill(make([]byte, j.bytes), 5)
	j.began = time.Now()
	for n := range j.count {
		fd, err := syscall.Open(j.file(n), syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		if _, err := syscall.Write(fd, b); err != nil {
			return err
		}
		if err := syscall.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) stat() error {
	for n := range j.count {
		var st syscall.Stat_t
		if err := syscall.Lstat(j.file(n), &st); err != nil {
			return err
		}
		j.sum = j.sum*31 + uint64(st.Size)
	}
	return nil
}

func (j *job) openread() error {
	b := make([]byte, j.bytes)
	for n := range j.count {
		fd, err := syscall.Open(j.file(n), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		k, err := syscall.Read(fd, b)
		if err != nil {
			return err
		}
		if err := syscall.Close(fd); err != nil {
			return err
		}
		h := fnv.New64a()
		h.Write(b[:k])
		j.sum = j.sum*31 + h.Sum64()
	}
	return nil
}

func (j *job) rename() error {
	for n := range j.count {
		if err := syscall.Rename(j.file(n), j.renamed(n)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) unlink() error {
	for n := range j.count {
		if err := syscall.Unlink(j.renamed(n)); err != nil {
			return err
		}
	}
	return nil
}

// relist lists twice and takes the time of the second listing.
func (j *job) relist() error {
	if err := j.run("ls", "-l", j.files()); err != nil {
		return err
	}
	j.began = time.Now()
	return j.run("ls", "-l", j.files())
}

// untar unpacks the archive that lies beside this program.
func (j *job) untar() error {
	to := filepath.Join(j.dir, "tree")
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	j.began = time.Now()
	return j.run("tar", "-xf", filepath.Join(filepath.Dir(self), "source.tar"), "-C", to)
}

// sweep removes what a repetition has left.
func (j *job) sweep() error {
	for _, name := range []string{"big", "synced", "files", "tree"} {
		if err := os.RemoveAll(filepath.Join(j.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
