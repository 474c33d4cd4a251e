package posix

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func dataRules(e *env) {
	e.part("offsets", func(e *env) {
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDWR)
		var model []byte
		for i, tt := range []struct{ off, n int }{
			{0, 1}, {1, 4095}, {4096, 4096}, {10000, 3}, {0, 100000}, {131072, 131072}, {131071, 2}, {500000, 1}, {1 << 20, 3 << 20}, {4<<20 - 7, 1<<20 + 13}, {3, 0},
		} {
			data := fill(tt.n, byte(i+1))
			n, err := unix.Pwrite(fd, data, int64(tt.off))
			e.want(0, err, "pwrite %d at %d", tt.n, tt.off)
			e.is(n == tt.n, "pwrite of %d wrote %d", tt.n, n)
			if end := tt.off + tt.n; tt.n > 0 && end > len(model) {
				model = append(model, make([]byte, end-len(model))...)
			}
			copy(model[min(tt.off, len(model)):], data)
			e.has(fd, model, "the file")
		}
		again := e.open("f", unix.O_RDONLY)
		e.has(again, model, "the file by another descriptor")
		buf := make([]byte, 100)
		for _, tt := range []struct {
			off  int64
			want int
		}{{int64(len(model)), 0}, {int64(len(model)) - 1, 1}, {1 << 40, 0}, {int64(len(model)) - 100, 100}} {
			n, err := unix.Pread(fd, buf, tt.off)
			e.want(0, err, "pread at %d", tt.off)
			e.is(n == tt.want, "pread at %d gives %d, want %d", tt.off, n, tt.want)
		}
		_, err := unix.Pread(fd, buf, -1)
		e.want(unix.EINVAL, err, "pread at -1")
		_, err = unix.Pwrite(fd, buf, -1)
		e.want(unix.EINVAL, err, "pwrite at -1")
		e.want(unix.EFAULT, call3(unix.SYS_READ, uintptr(fd), wild, 10), "read to nowhere")
		e.want(unix.EFAULT, call3(unix.SYS_WRITE, uintptr(fd), wild, 10), "write from nowhere")
		e.want(unix.EBADF, call3(unix.SYS_WRITE, 1<<20, wild, 10), "write to no descriptor")
		_, err = unix.Pwrite(fd, buf, math.MaxInt64-5)
		e.wantAny([]unix.Errno{unix.EFBIG, unix.EINVAL}, err, "pwrite at the end of numbers")
		e.has(fd, model, "the file")
		n, err := unix.Pwritev(fd, [][]byte{[]byte("one"), []byte("two"), nil, []byte("three")}, 10)
		e.want(0, err, "pwritev")
		e.is(n == 11, "pwritev wrote %d", n)
		copy(model[10:], "onetwothree")
		a, b := make([]byte, 5), make([]byte, 6)
		n, err = unix.Preadv(fd, [][]byte{a, b}, 10)
		e.want(0, err, "preadv")
		e.is(n == 11 && string(a)+string(b) == "onetwothree", "preadv gave %q %q", a, b)
	})
	e.part("positions", func(e *env) {
		e.file("f", 0o644, "0123456789")
		a, b := e.open("f", unix.O_RDWR), e.open("f", unix.O_RDWR)
		c, err := unix.Dup(a)
		e.must(err, "dup")
		defer unix.Close(c)
		buf := make([]byte, 3)
		for i, tt := range []struct {
			fd   int
			want string
		}{{a, "012"}, {b, "012"}, {c, "345"}, {a, "678"}, {b, "345"}, {c, "9"}, {a, ""}} {
			n, err := unix.Read(tt.fd, buf)
			e.want(0, err, "read %d", i)
			e.is(string(buf[:max(n, 0)]) == tt.want, "read %d gives %q, want %q", i, buf[:max(n, 0)], tt.want)
		}
	})
	e.part("large", func(e *env) {
		e.make(regular, "f", 0o644)
		fd := e.open("f", unix.O_RDWR)
		for _, off := range []int64{1<<31 - 3, 1 << 32, 1<<40 + 12345} {
			_, err := unix.Pwrite(fd, []byte("large file"), off)
			e.want(0, err, "pwrite at %d", off)
			e.is(e.stat("f").Size == off+10, "size %d, want %d", e.stat("f").Size, off+10)
			buf := make([]byte, 12)
			n, err := unix.Pread(fd, buf, off-1)
			e.want(0, err, "pread at %d", off-1)
			e.is(string(buf[:max(0, n)]) == "\x00large file", "pread at %d gives %q", off-1, buf[:max(0, n)])
		}
		e.is(e.stat("f").Blocks < 1<<20, "a file with three blocks takes %d", e.stat("f").Blocks)
	})
	e.part("direct", func(e *env) {
		fd, err := unix.Open("f", unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT, 0o644)
		if err == unix.EINVAL {
			e.is(true, "")
			e.Logf("no O_DIRECT: EINVAL")
			return
		}
		e.want(0, err, "open with O_DIRECT")
		defer unix.Close(fd)
		block, err := unix.Mmap(-1, 0, 1<<17, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		e.must(err, "mmap")
		defer unix.Munmap(block)
		copy(block, fill(1<<17, 11))
		want := bytes.Clone(block)
		n, err := unix.Pwrite(fd, block, 4096)
		e.want(0, err, "write with O_DIRECT")
		e.is(n == 1<<17, "wrote %d", n)
		clear(block)
		n, err = unix.Pread(fd, block, 4096)
		e.want(0, err, "read with O_DIRECT")
		e.is(n == 1<<17 && bytes.Equal(block, want), "read %d bytes, the same: %v", n, bytes.Equal(block, want))
		plain := e.open("f", unix.O_RDWR)
		e.has(plain, append(make([]byte, 4096), want...), "the file without O_DIRECT")
		_, err = unix.Pwrite(plain, []byte("plain"), 8192)
		e.must(err, "write")
		n, err = unix.Pread(fd, block[:4096], 8192)
		e.want(0, err, "read with O_DIRECT of what was written without")
		e.is(n == 4096 && string(block[:5]) == "plain", "it gives %q", block[:5])
	})
	e.part("copy", copyRules)
	e.part("sync", func(e *env) {
		e.file("f", 0o644, "x")
		fd := e.open("f", unix.O_RDWR)
		e.want(0, unix.Fsync(fd), "fsync")
		e.want(0, unix.Fdatasync(fd), "fdatasync")
		e.want(0, unix.SyncFileRange(fd, 0, 1, unix.SYNC_FILE_RANGE_WRITE), "sync_file_range")
		s := e.open("s", unix.O_CREAT|unix.O_RDWR|unix.O_SYNC)
		n, err := unix.Write(s, fill(10000, 1))
		e.want(0, err, "write with O_SYNC")
		e.is(n == 10000, "wrote %d", n)
		e.has(s, fill(10000, 1), "the file")
	})
	e.part("times", func(e *env) {
		e.file("f", 0o644, "content")
		fd := e.open("f", unix.O_RDWR)
		e.times("write", map[string]string{"f": "mc", ".": ""}, func() {
			_, err := unix.Write(fd, []byte("x"))
			e.want(0, err, "write")
		})
		e.times("empty write", map[string]string{"f": "", ".": ""}, func() {
			_, err := unix.Write(fd, nil)
			e.want(0, err, "empty write")
		})
		e.times("read", map[string]string{"f": "", ".": ""}, func() {
			_, err := unix.Read(fd, make([]byte, 3))
			e.want(0, err, "read")
		})
		e.times("close", map[string]string{"f": "", ".": ""}, func() {
			c, err := unix.Open("f", unix.O_RDWR, 0)
			e.must(err, "open")
			e.want(0, unix.Close(c), "close")
			e.want(0, unix.Fsync(fd), "fsync")
		})
	})
}

func copyRules(e *env) {
	data := fill(300000, 17)
	e.must(os.WriteFile(filepath.Join(e.dir, "from"), data, 0o644), "write")
	e.make(regular, "to", 0o644)
	from, to := e.open("from", unix.O_RDWR), e.open("to", unix.O_RDWR)
	var model []byte
	move := func(src, dst int, in, out int64, n int) (int, error) {
		return unix.CopyFileRange(src, &in, dst, &out, n, 0)
	}
	for _, tt := range []struct {
		in, out int64
		n       int
	}{{0, 0, 1000}, {100, 5000, 100000}, {299990, 20, 100}, {0, 200000, 300000}, {300000, 0, 10}, {7, 3, 4096}} {
		want := max(0, min(tt.n, len(data)-int(tt.in)))
		done := 0
		for done < want {
			n, err := move(from, to, tt.in+int64(done), tt.out+int64(done), tt.n-done)
			if !e.want(0, err, "copy_file_range %+v", tt) {
				return
			}
			if !e.is(n > 0, "copy_file_range %+v stops after %d of %d", tt, done, want) {
				return
			}
			done += n
		}
		if want == 0 {
			n, err := move(from, to, tt.in, tt.out, tt.n)
			e.want(0, err, "copy_file_range from the end")
			e.is(n == 0, "copy_file_range from the end copies %d", n)
			continue
		}
		if end := int(tt.out) + want; end > len(model) {
			model = append(model, make([]byte, end-len(model))...)
		}
		copy(model[tt.out:], data[tt.in:int(tt.in)+want])
		e.has(to, model, "the copy")
	}
	e.has(from, data, "the source")
	_, err := move(from, from, 0, 10, 100)
	e.want(unix.EINVAL, err, "copy_file_range within a file, overlapping")
	n, err := move(from, from, 0, 200000, 50000)
	e.want(0, err, "copy_file_range within a file")
	copy(data[200000:200000+max(0, n)], data[:max(0, n)])
	e.has(from, data, "the file")
	r := e.open("to", unix.O_RDONLY)
	_, err = move(from, r, 0, 0, 10)
	e.want(unix.EBADF, err, "copy_file_range to what was opened for reading")
	a := e.open("to", unix.O_WRONLY|unix.O_APPEND)
	_, err = move(from, a, 0, 0, 10)
	e.want(unix.EBADF, err, "copy_file_range to what was opened for appending")
	e.make(directory, "d", 0o755)
	d := e.open("d", unix.O_RDONLY)
	_, err = move(d, to, 0, 0, 10)
	e.want(unix.EISDIR, err, "copy_file_range from a directory")
	_, err = move(from, to, -1, 0, 10)
	e.wantAny([]unix.Errno{unix.EINVAL, unix.EOVERFLOW}, err, "copy_file_range from -1")
	e.times("copy_file_range", map[string]string{"to": "mc", ".": ""}, func() {
		_, err := move(from, to, 0, 0, 1000)
		e.want(0, err, "copy_file_range")
	})
	// Written, but not on the disk yet: a copy sees it.
	_, err = unix.Pwrite(from, []byte("fresh"), 0)
	e.must(err, "write")
	_, err = move(from, to, 0, 0, 5)
	e.want(0, err, "copy_file_range of what was just written")
	buf := make([]byte, 5)
	_, err = unix.Pread(to, buf, 0)
	e.must(err, "read")
	e.is(string(buf) == "fresh", "the copy has %q", buf)
}

// mmapRules: memory and file are one.
func mmapRules(e *env) {
	const size = 64 << 10
	data := fill(size, 23)
	e.must(os.WriteFile(filepath.Join(e.dir, "f"), data, 0o644), "write")
	fd := e.open("f", unix.O_RDWR)
	mapped := func(prot, flags int) []byte {
		m, err := unix.Mmap(fd, 0, size, prot, flags)
		e.want(0, err, "mmap")
		e.must(err, "mmap")
		e.Cleanup(func() { _ = unix.Munmap(m) })
		return m
	}
	shared := mapped(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	second := mapped(unix.PROT_READ, unix.MAP_SHARED)
	private := mapped(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	e.is(bytes.Equal(shared, data), "a mapping differs from the file")
	e.is(bytes.Equal(private, data), "a private mapping differs from the file")

	copy(shared[5000:], "through memory")
	copy(data[5000:], "through memory")
	e.is(bytes.Equal(second, data), "a second mapping does not see what the first wrote")
	e.has(fd, data, "the file, after a write to memory")
	_, err := unix.Pwrite(fd, []byte("through the file"), 20000)
	e.must(err, "pwrite")
	copy(data[20000:], "through the file")
	e.is(bytes.Equal(shared, data), "a mapping does not see what was written to the file")
	copy(private[9000:], "private")
	e.is(bytes.Equal(second, data), "a private write shows")
	e.has(fd, data, "the file, after a private write")
	e.times("msync", map[string]string{"f": "mc"}, func() {
		shared[100] = 'm'
		data[100] = 'm'
		e.want(0, unix.Msync(shared, unix.MS_SYNC), "msync")
	})
	again := e.open("f", unix.O_RDONLY)
	e.has(again, data, "the file by another descriptor")
	// The mapping outlives descriptor and name.
	e.must(unix.Unlink("f"), "unlink")
	copy(shared[:], "after unlink")
	copy(data, "after unlink")
	e.want(0, unix.Msync(shared, unix.MS_SYNC), "msync after unlink")
	e.has(fd, data, "the file that was unlinked")
	e.is(bytes.Equal(second, data), "mappings of an unlinked file differ")
	// Beyond the end of the file there is nothing: SIGBUS.
	e.must(unix.Ftruncate(fd, 8192), "ftruncate")
	e.is(touch(shared, 8191), "the last byte of the file cannot be read")
	e.is(!touch(shared, 8192), "a page behind the end of the file can be read")
	e.must(unix.Ftruncate(fd, size), "ftruncate")
	e.is(touch(shared, 8192), "a page of a file that grew again cannot be read")
	e.is(shared[8192] == 0 && shared[20000] == 0, "cut-off data is there again: %x %x", shared[8192], shared[20000])

	ro := e.open("ro", unix.O_CREAT|unix.O_RDONLY)
	_, err = unix.Mmap(ro, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	e.want(unix.EACCES, err, "writable shared mmap of what was opened for reading")
	m, err := unix.Mmap(ro, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	e.want(0, err, "writable private mmap of what was opened for reading")
	if err == nil {
		_ = unix.Munmap(m)
	}
	d := e.open(".", unix.O_RDONLY)
	_, err = unix.Mmap(d, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	e.want(unix.ENODEV, err, "mmap of a directory")
}

// touch reports whether a byte can be read.
func touch(m []byte, i int) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	runtime.KeepAlive(m[i])
	return true
}
