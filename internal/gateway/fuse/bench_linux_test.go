package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The benchmarks use a mount of a volume in the same machine, whose server is a
// process of its own, as it is in life. They compare the transports:
//
//	go test ./internal/gateway/fuse -run '^$' -bench . -benchmem
//
// Beside the time stands what the server's processor spent on an operation, which
// is the same on a busy machine.
func benchmark(b *testing.B, f func(b *counted, dir string)) {
	c := cluster(b, shapes["brick"], nil)
	for _, tr := range []Transport{TransportDev, TransportURing} {
		b.Run(tr.String(), func(b *testing.B) {
			if tr == TransportURing {
				withURing(b)
			}
			cmd, dir := served(b, c, func(c *Config) { c.Transport, c.AttrTimeout = tr, 0 })
			f(&counted{B: b, pid: cmd.Process.Pid}, dir)
		})
	}
}

// counted is a benchmark of a server.
type counted struct {
	*testing.B
	pid int
}

// spent is the processor time of the server until now.
func (c *counted) spent() time.Duration {
	var sum time.Duration
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.pid))
	if err != nil {
		c.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		var ns int64
		fmt.Sscan(string(b), &ns)
		sum += time.Duration(ns)
	}
	return sum
}

// report tells what was spent per operation since.
func (c *counted) report(since time.Duration) {
	c.ReportMetric(float64((c.spent()-since).Microseconds())/float64(c.N), "server-µs/op")
}

// BenchmarkStat asks the bricks for the attributes of a file each time.
func BenchmarkStat(b *testing.B) {
	benchmark(b, func(b *counted, dir string) {
		p := filepath.Join(dir, "f")
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			b.Fatal(err)
		}
		var st syscall.Stat_t
		since := b.spent()
		defer func() { b.report(since) }()
		for b.Loop() {
			if err := syscall.Stat(p, &st); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStatParallel(b *testing.B) {
	benchmark(b, func(b *counted, dir string) {
		p := filepath.Join(dir, "f")
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			b.Fatal(err)
		}
		b.SetParallelism(8)
		since := b.spent()
		defer func() { b.report(since) }()
		b.RunParallel(func(pb *testing.PB) {
			var st syscall.Stat_t
			for pb.Next() {
				if err := syscall.Stat(p, &st); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkCreate(b *testing.B) {
	var n atomic.Int64
	benchmark(b, func(b *counted, dir string) {
		data := make([]byte, 4096)
		since := b.spent()
		defer func() { b.report(since) }()
		for b.Loop() {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("n", n.Add(1))), data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIO reads and writes past the page cache.
func BenchmarkIO(b *testing.B) {
	benchmark(b, func(b *counted, dir string) {
		fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		for _, size := range []int{4 << 10, 1 << 20} {
			buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Munmap(buf)
			for what, io := range map[string]func(int, []byte, int64) (int, error){"write": unix.Pwrite, "read": unix.Pread} {
				if _, err := unix.Pwrite(fd, buf, 0); err != nil {
					b.Fatal(err)
				}
				b.Run(fmt.Sprintf("%s%dk", what, size>>10), func(tb *testing.B) {
					b := &counted{tb, b.pid}
					b.SetBytes(int64(size))
					since := b.spent()
					defer func() { b.report(since) }()
					for b.Loop() {
						if n, err := io(fd, buf, 0); n != size {
							b.Fatal(n, err)
						}
					}
				})
			}
		}
	})
}

// BenchmarkStream writes and reads from front to back, through the page cache.
func BenchmarkStream(b *testing.B) {
	benchmark(b, func(b *counted, dir string) {
		const size, room = 1 << 20, 256
		fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		buf := make([]byte, size)
		run := func(what string, io func(int, []byte, int64) (int, error)) {
			b.Run(what, func(tb *testing.B) {
				b := &counted{tb, b.pid}
				b.SetBytes(size)
				since := b.spent()
				defer func() { b.report(since) }()
				n := int64(0)
				for b.Loop() {
					if n%room == 0 {
						unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
					}
					if k, err := io(fd, buf, n%room*size); k != size {
						b.Fatal(k, err)
					}
					n++
				}
			})
		}
		for n := range int64(room) { // so that there is something to read
			if k, err := unix.Pwrite(fd, buf, n*size); k != size {
				b.Fatal(k, err)
			}
		}
		run("write", unix.Pwrite)
		run("read", unix.Pread)
	})
}
