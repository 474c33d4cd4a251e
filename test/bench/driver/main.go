// Command driver is our half of the benchmarks: it does with package gfapi what
// testdata/driver.c does with GlusterFS's libgfapi, operation for operation, and
// prints the same line; see there.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/gfapi"
)

type job struct {
	v        *gfapi.Volume
	dir      string
	phase    string
	count    int64
	bytes    int64
	depth    int64
	shared   *gfapi.File
	checksum atomic.Uint64
}

func main() {
	if len(os.Args) != 9 {
		fmt.Fprintln(os.Stderr, "usage: driver HOST PORT VOLUME DIR PHASE COUNT BYTES DEPTH")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := gfapi.MountURL(ctx, "gluster://"+args[0]+":"+args[1]+"/"+args[2])
	if err != nil {
		return err
	}
	defer v.Unmount()
	j := &job{v: v.WithContext(context.Background()), dir: args[3], phase: args[4]}
	j.count, _ = strconv.ParseInt(args[5], 10, 64)
	j.bytes, _ = strconv.ParseInt(args[6], 10, 64)
	j.depth, _ = strconv.ParseInt(args[7], 10, 64)
	if err := j.v.MkdirAll(j.dir, 0o755); err != nil {
		return err
	}
	oneFile := strings.HasPrefix(j.phase, "seq") || strings.HasPrefix(j.phase, "rand")
	if oneFile {
		flags := os.O_RDWR
		if j.phase == "seqwrite" {
			flags |= os.O_CREATE | os.O_TRUNC
		}
		if j.shared, err = j.v.OpenFile(j.dir+".data", flags, 0o644); err != nil {
			return err
		}
	}
	if name := os.Getenv("CPUPROFILE"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	start, used := time.Now(), cpu()
	if err := j.all(); err != nil {
		return err
	}
	if oneFile {
		if err := j.shared.Close(); err != nil {
			return err
		}
	}
	took, used := time.Since(start), cpu()-used
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	fmt.Printf("%.6f %.6f %d %d\n", took.Seconds(), used.Seconds(), r.Maxrss, j.checksum.Load())
	return nil
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func (j *job) all() error {
	if j.phase == "list" {
		return j.list()
	}
	errs := make(chan error, j.depth)
	var wg sync.WaitGroup
	for i := range j.depth {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := j.worker(i); err != nil {
				errs <- err
			}
		}()
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func (j *job) list() error {
	des, err := j.v.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, de := range des {
		info, err := de.Info()
		if err != nil {
			return err
		}
		j.checksum.Add(uint64(info.Size()))
	}
	return nil
}

func (j *job) name(prefix string, i int64) string {
	return fmt.Sprintf("%s/%s%06d", j.dir, prefix, i)
}

func (j *job) worker(me int64) error {
	per := j.count / j.depth
	buf := make([]byte, j.bytes)
	for i := range buf {
		buf[i] = 'x'
	}
	rnd := uint64(88172645463325252 + me)
	// The same sequence of offsets as in the C driver.
	random := func() int64 {
		rnd ^= rnd << 13
		rnd ^= rnd >> 7
		rnd ^= rnd << 17
		return int64(rnd%uint64(j.count)) * j.bytes
	}
	var sum uint64
	defer func() { j.checksum.Add(sum) }()
	for i := me * per; i < (me+1)*per; i++ {
		n, err := j.one(i, buf, random)
		if err != nil {
			return err
		}
		sum += n
	}
	return nil
}

// one does one operation and returns what it adds to the checksum.
func (j *job) one(i int64, buf []byte, random func() int64) (uint64, error) {
	switch j.phase {
	case "seqwrite":
		_, err := j.shared.WriteAt(buf, i*j.bytes)
		return 0, err
	case "seqread":
		_, err := j.shared.ReadAt(buf, i*j.bytes)
		return uint64(buf[0]), err
	case "randwrite":
		_, err := j.shared.WriteAt(buf, random())
		return 0, err
	case "randread":
		_, err := j.shared.ReadAt(buf, random())
		return uint64(buf[0]), err
	case "create":
		f, err := j.v.OpenFile(j.name("f", i), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return 0, err
		}
		if _, err := f.WriteAt(buf, 0); err != nil {
			return 0, err
		}
		return 0, f.Close()
	case "stat":
		info, err := j.v.Lstat(j.name("f", i))
		if err != nil {
			return 0, err
		}
		return uint64(info.Size()), nil
	case "openread":
		f, err := j.v.Open(j.name("f", i))
		if err != nil {
			return 0, err
		}
		n, err := f.ReadAt(buf, 0)
		if err != nil {
			return 0, err
		}
		return uint64(n), f.Close()
	case "rename":
		return 0, j.v.Rename(j.name("f", i), j.name("r", i))
	case "unlink":
		return 0, j.v.Remove(j.name("r", i))
	}
	return 0, fmt.Errorf("phase %q is not known", j.phase)
}
