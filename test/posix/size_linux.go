package posix

import (
	"bytes"
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// fill is n bytes that differ from block to block.
func fill(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*7+i>>8)
	}
	return b
}

// has checks the content of an open file.
func (e *env) has(fd int, want []byte, what string) {
	e.Helper()
	var st unix.Stat_t
	e.want(0, unix.Fstat(fd, &st), "fstat %s", what)
	if !e.is(st.Size == int64(len(want)), "%s: size %d, want %d", what, st.Size, len(want)) {
		return
	}
	got := make([]byte, len(want)+1)
	n := 0
	for n < len(got) {
		m, err := unix.Pread(fd, got[n:], int64(n))
		if !e.want(0, err, "read %s", what) || m == 0 {
			break
		}
		n += m
	}
	if !e.is(n == len(want), "%s: read %d bytes, want %d", what, n, len(want)) {
		return
	}
	if !bytes.Equal(got[:n], want) {
		at := 0
		for got[at] == want[at] {
			at++
		}
		e.is(false, "%s: differs from byte %d on: %#x, want %#x", what, at, got[at], want[at])
	}
	e.checks.Add(1)
}

func truncateRules(e *env) {
	both := map[string]func(name string, size int64) error{
		"truncate": unix.Truncate,
		"ftruncate": func(name string, size int64) error {
			fd, err := unix.Open(name, unix.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Ftruncate(fd, size)
		},
	}
	for what, f := range both {
		e.part(what, func(e *env) {
			data := fill(20000, 3)
			e.make(regular, "f", 0o644)
			fd := e.open("f", unix.O_RDWR)
			_, err := unix.Pwrite(fd, data, 0)
			e.must(err, "write")
			model := bytes.Clone(data)
			for _, size := range []int{20000, 19999, 12345, 4097, 4096, 4095, 8192, 100000, 1, 5000, 0, 3, 70001, 0} {
				e.want(0, f("f", int64(size)), "%s to %d", what, size)
				if size <= len(model) {
					model = model[:size:size]
				} else {
					model = append(model, make([]byte, size-len(model))...)
				}
				e.has(fd, model, what)
			}
			for _, size := range []int64{1 << 31, 1<<32 + 5, 1 << 40, 3} {
				e.want(0, f("f", size), "%s to %d", what, size)
				e.is(e.stat("f").Size == size, "size %d, want %d", e.stat("f").Size, size)
			}
			e.want(unix.EINVAL, f("f", -1), "%s to -1", what)
			e.want(unix.EINVAL, f("f", math.MinInt64), "%s to the least number", what)
			err = f("f", math.MaxInt64)
			e.wantAny([]unix.Errno{unix.EFBIG, unix.EINVAL, 0}, err, "%s to the largest number", what)
			if err == nil {
				e.is(e.stat("f").Size == math.MaxInt64, "size %d", e.stat("f").Size)
			} else {
				e.is(e.stat("f").Size == 3, "a refused %s left size %d", what, e.stat("f").Size)
			}
			e.must(unix.Ftruncate(fd, 3), "ftruncate")
			e.times(what, map[string]string{"f": "mc", ".": ""}, func() { e.want(0, f("f", 100), "%s", what) })
			e.times("failing "+what, map[string]string{"f": ""}, func() { e.want(unix.EINVAL, f("f", -1), "%s", what) })
			e.give("f", owner)
			e.mode("f", 0o644)
			e.times("forbidden "+what, map[string]string{"f": ""}, func() {
				e.as(other, func() { e.want(unix.EACCES, f("f", 5), "%s", what) })
			})
			e.is(e.stat("f").Size == 100, "a forbidden %s left size %d", what, e.stat("f").Size)
			// Blocks come and go.
			e.must(unix.Ftruncate(fd, 0), "ftruncate")
			_, err = unix.Pwrite(fd, fill(1<<20, 1), 0)
			e.must(err, "write")
			e.must(unix.Fsync(fd), "fsync")
			e.is(e.stat("f").Blocks >= 2048, "1 MiB takes %d blocks", e.stat("f").Blocks)
			e.want(0, f("f", 0), "%s", what)
			e.must(unix.Fsync(fd), "fsync")
			e.is(e.stat("f").Blocks == 0, "an empty file takes %d blocks", e.stat("f").Blocks)
		})
	}
	e.part("kinds", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			want := unix.EINVAL
			switch k {
			case directory:
				want = unix.EISDIR
			case regular:
				want = 0
			case symlink:
				want = unix.ENOENT
			}
			e.want(want, unix.Truncate(string(k), 10), "truncate of a %s", k)
		}
	})
	// Many writers' limit: RLIMIT_FSIZE is the process's, so it is not tried here.
}

// allocate is fallocate(2) of one chapter: it reports whether the file system
// knows the mode, which must be all or nothing.
func (e *env) allocate(fd int, mode uint32, off, n int64, what string) bool {
	e.Helper()
	err := unix.Fallocate(fd, mode, off, n)
	if err == unix.EOPNOTSUPP {
		e.is(true, "")
		e.Logf("%s: EOPNOTSUPP", what)
		return false
	}
	return e.want(0, err, "%s", what)
}

func fallocateRules(e *env) {
	e.part("allocate", func(e *env) {
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDWR)
		for _, tt := range []struct{ off, n, size int64 }{
			{0, 567, 567}, {20000, 10000, 30000}, {0, 100, 30000}, {29999, 2, 30001}, {100000, 1, 100001},
		} {
			e.want(0, unix.Fallocate(fd, 0, tt.off, tt.n), "fallocate %d+%d", tt.off, tt.n)
			e.has(fd, make([]byte, tt.size), "what was allocated")
			if tt.off+tt.n >= 4096 {
				e.is(e.stat("f").Blocks > 0, "allocated space takes no blocks")
			}
		}
		e.times("fallocate", map[string]string{"f": "mc", ".": ""}, func() { e.want(0, unix.Fallocate(fd, 0, 0, 1<<18), "fallocate") })
		data := fill(1<<18, 9)
		_, err := unix.Pwrite(fd, data, 0)
		e.must(err, "write")
		e.want(0, unix.Fallocate(fd, 0, 100, 5000), "fallocate over data")
		e.has(fd, data, "data that was allocated again")
		for _, bad := range [][2]int64{{0, 0}, {0, -1}, {-1, 10}, {100, -10}} {
			e.want(unix.EINVAL, unix.Fallocate(fd, 0, bad[0], bad[1]), "fallocate %d+%d", bad[0], bad[1])
		}
		e.want(unix.EFBIG, unix.Fallocate(fd, 0, math.MaxInt64-10, 100), "fallocate beyond the largest number")
		// The owner of the descriptor may, whatever the mode has become.
		e.mode(".", 0o777)
		e.as(owner, func() {
			own, err := unix.Open("own", unix.O_CREAT|unix.O_RDWR, 0)
			e.must(err, "create")
			e.want(0, unix.Fallocate(own, 0, 0, 4096), "fallocate of what was created with mode 0")
			unix.Close(own)
		})
		e.make(directory, "d", 0o755)
		d := e.open("d", unix.O_RDONLY)
		e.want(unix.EBADF, unix.Fallocate(d, 0, 0, 10), "fallocate of a directory")
		e.make(fifo, "fifo", 0o644)
		p := e.open("fifo", unix.O_RDWR)
		e.want(unix.ESPIPE, unix.Fallocate(p, 0, 0, 10), "fallocate of a fifo")
	})
	e.part("modes", func(e *env) {
		data := fill(1<<18, 5)
		model := bytes.Clone(data)
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDWR)
		_, err := unix.Pwrite(fd, data, 0)
		e.must(err, "write")
		clear := func(off, end int64) {
			for i := off; i < min(end, int64(len(model))); i++ {
				model[i] = 0
			}
		}
		if e.allocate(fd, unix.FALLOC_FL_KEEP_SIZE, 1<<18, 1<<16, "fallocate beyond the end, keeping the size") {
			e.has(fd, model, "the file")
		}
		const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		for _, r := range [][2]int64{{4096, 8192}, {100, 50}, {4000, 200}, {65536, 65536}, {1<<18 - 10, 100}, {1 << 19, 4096}, {0, 1}} {
			if e.allocate(fd, punch, r[0], r[1], "punch a hole") {
				clear(r[0], r[0]+r[1])
				e.has(fd, model, "after a hole was punched")
			}
		}
		e.want(unix.EOPNOTSUPP, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE, 0, 10), "punch a hole without keeping the size")
		for _, r := range [][2]int64{{20000, 3000}, {32768, 4096}, {1<<18 - 5, 5}} {
			if e.allocate(fd, unix.FALLOC_FL_ZERO_RANGE, r[0], r[1], "zero a range") {
				clear(r[0], r[0]+r[1])
				e.has(fd, model, "after a range was zeroed")
			}
		}
		if e.allocate(fd, unix.FALLOC_FL_ZERO_RANGE, 1<<18-100, 300, "zero a range over the end") {
			clear(1<<18-100, 1<<18)
			model = append(model, make([]byte, 200)...)
			e.has(fd, model, "after a range over the end was zeroed")
		}
		if e.allocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, int64(len(model))-50, 300, "zero a range over the end, keeping the size") {
			clear(int64(len(model))-50, int64(len(model)))
			e.has(fd, model, "after a range over the end was zeroed, keeping the size")
		}
		e.want(unix.EOPNOTSUPP, unix.Fallocate(fd, 0x80, 0, 10), "fallocate with an unknown mode")
	})
	e.part("seek", func(e *env) {
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDWR)
		e.must(unix.Ftruncate(fd, 4<<20), "ftruncate")
		for _, at := range []int64{1 << 20, 3 << 20} {
			_, err := unix.Pwrite(fd, fill(1<<16, 1), at)
			e.must(err, "write")
		}
		e.must(unix.Fsync(fd), "fsync")
		seek := func(from int64, whence int, want int64, errno unix.Errno, what string) {
			e.Helper()
			got, err := unix.Seek(fd, from, whence)
			if e.want(errno, err, "seek %s from %d", what, from) && errno == 0 {
				e.is(got == want, "seek %s from %d: %d, want %d", what, from, got, want)
			}
		}
		seek(0, unix.SEEK_DATA, 1<<20, 0, "data")
		seek(1<<20+5, unix.SEEK_DATA, 1<<20+5, 0, "data")
		seek(1<<20+1<<16, unix.SEEK_DATA, 3<<20, 0, "data")
		seek(3<<20+1<<16, unix.SEEK_DATA, 0, unix.ENXIO, "data")
		seek(0, unix.SEEK_HOLE, 0, 0, "hole")
		seek(1<<20, unix.SEEK_HOLE, 1<<20+1<<16, 0, "hole")
		seek(3<<20, unix.SEEK_HOLE, 3<<20+1<<16, 0, "hole")
		seek(4<<20, unix.SEEK_DATA, 0, unix.ENXIO, "data")
		seek(4<<20, unix.SEEK_HOLE, 0, unix.ENXIO, "hole")
		seek(5<<20, unix.SEEK_HOLE, 0, unix.ENXIO, "hole")
		seek(-1, unix.SEEK_SET, 0, unix.EINVAL, "set")
		seek(7, unix.SEEK_SET, 7, 0, "set")
		seek(-8, io.SeekCurrent, 0, unix.EINVAL, "current")
		seek(5, io.SeekCurrent, 12, 0, "current")
		seek(-1, io.SeekEnd, 4<<20-1, 0, "end")
		seek(0, 77, 0, unix.EINVAL, "by an unknown rule")
		_, err := unix.Pwrite(fd, []byte("end"), 4<<20)
		e.must(err, "write")
		e.must(unix.Fsync(fd), "fsync")
		seek(4<<20, unix.SEEK_HOLE, 4<<20+3, 0, "hole")
	})
}
