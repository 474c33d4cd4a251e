package posix

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	utimeNow  = (1 << 30) - 1
	utimeOmit = (1 << 30) - 2
)

func setTimes(name string, a, m unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{a, m}, unix.AT_SYMLINK_NOFOLLOW)
}

func utimensRules(e *env) {
	e.part("sets", func(e *env) {
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			for _, tt := range [][2]unix.Timespec{
				{timespec(1900000000, 0), timespec(1950000000, 0)},
				{timespec(1950000000, 123456789), timespec(1900000000, 999999999)},
				{timespec(0, 0), timespec(0, 1)},
				{timespec(1, 5), timespec(1<<31-1, 7)},
				{timespec(1<<31, 1), timespec(1<<32+5, 2)}, // after 2038
			} {
				e.want(0, setTimes(string(k), tt[0], tt[1]), "utimensat of a %s", k)
				st := e.stat(string(k))
				e.is(st.Atim == tt[0], "atime of a %s is %v, want %v", k, st.Atim, tt[0])
				e.is(st.Mtim == tt[1], "mtime of a %s is %v, want %v", k, st.Mtim, tt[1])
			}
			old := e.stat(string(k))
			e.want(0, setTimes(string(k), unix.Timespec{Nsec: utimeOmit}, timespec(77, 5)), "utimensat with UTIME_OMIT for atime")
			st := e.stat(string(k))
			e.is(st.Atim == old.Atim && st.Mtim == timespec(77, 5), "UTIME_OMIT for atime: %v %v", st.Atim, st.Mtim)
			e.want(0, setTimes(string(k), timespec(88, 6), unix.Timespec{Nsec: utimeOmit}), "utimensat with UTIME_OMIT for mtime")
			st = e.stat(string(k))
			e.is(st.Atim == timespec(88, 6) && st.Mtim == timespec(77, 5), "UTIME_OMIT for mtime: %v %v", st.Atim, st.Mtim)
			ctim := st.Ctim
			tick()
			e.want(0, setTimes(string(k), unix.Timespec{Nsec: utimeOmit}, unix.Timespec{Nsec: utimeOmit}), "utimensat with UTIME_OMIT for both")
			st = e.stat(string(k))
			e.is(st.Atim == timespec(88, 6) && st.Mtim == timespec(77, 5) && st.Ctim == ctim, "UTIME_OMIT for both: %v %v, ctime %v, was %v", st.Atim, st.Mtim, st.Ctim, ctim)
			begin := time.Now().Add(-2 * time.Second)
			e.want(0, setTimes(string(k), unix.Timespec{Nsec: utimeNow}, unix.Timespec{Nsec: utimeOmit}), "utimensat with UTIME_NOW for atime")
			st = e.stat(string(k))
			e.is(stamp(st.Atim).After(begin) && st.Mtim == timespec(77, 5), "UTIME_NOW for atime: %v %v", st.Atim, st.Mtim)
			e.want(0, setTimes(string(k), timespec(3, 3), unix.Timespec{Nsec: utimeNow}), "utimensat with UTIME_NOW for mtime")
			st = e.stat(string(k))
			e.is(st.Atim == timespec(3, 3) && stamp(st.Mtim).After(begin), "UTIME_NOW for mtime: %v %v", st.Atim, st.Mtim)
			e.want(0, setTimes(string(k), unix.Timespec{Nsec: utimeNow}, unix.Timespec{Nsec: utimeNow}), "utimensat with UTIME_NOW for both")
			st = e.stat(string(k))
			e.is(stamp(st.Atim).After(begin) && stamp(st.Mtim).Before(time.Now().Add(2*time.Second)), "UTIME_NOW for both: %v %v", st.Atim, st.Mtim)
		}
		for _, bad := range []int64{-1, 1e9, 1 << 31} {
			e.want(unix.EINVAL, setTimes("regular", timespec(1, bad), timespec(1, 1)), "utimensat with %d nanoseconds", bad)
			e.want(unix.EINVAL, setTimes("regular", timespec(1, 1), timespec(1, bad)), "utimensat with %d nanoseconds", bad)
		}
		e.must(unix.Symlink("regular", "s"), "symlink")
		linkTimes := e.stat("s")
		e.want(0, unix.UtimesNanoAt(unix.AT_FDCWD, "s", []unix.Timespec{timespec(5, 5), timespec(6, 6)}, 0), "utimensat through a link")
		e.is(e.stat("regular").Mtim == timespec(6, 6), "utimensat did not follow a link")
		e.is(e.stat("s").Mtim == linkTimes.Mtim, "utimensat through a link changed the link")
		e.must(setTimes("s", timespec(9, 9), timespec(9, 9)), "utimensat of a link")
		e.is(e.stat("regular").Mtim == timespec(6, 6), "utimensat of a link changed the target")
	})
	e.part("times", func(e *env) {
		all := map[string]string{".": ""}
		for _, k := range allKinds {
			e.make(k, string(k), 0o644)
			all[string(k)] = "c"
		}
		e.times("utimensat to what was", all, func() {
			for _, k := range allKinds {
				st := e.stat(string(k))
				e.want(0, setTimes(string(k), st.Atim, st.Mtim), "utimensat of a %s", k)
			}
		})
	})
	e.part("who", func(e *env) {
		now, omit := unix.Timespec{Nsec: utimeNow}, unix.Timespec{Nsec: utimeOmit}
		fixed := timespec(1234567890, 1)
		for _, k := range realKinds {
			name := string(k)
			e.owned(k, name, 0o600, owner)
			for _, tt := range []struct {
				mode uint32
				u    user
				a, m unix.Timespec
				want unix.Errno
			}{
				{0, owner, fixed, fixed, 0}, {0, owner, now, now, 0}, {0, owner, now, fixed, 0}, {0, root, fixed, fixed, 0},
				{0o666, other, now, now, 0}, {0o666, other, fixed, fixed, unix.EPERM}, {0o666, other, now, omit, unix.EPERM},
				{0o666, other, omit, now, unix.EPERM}, {0o666, other, omit, omit, 0}, {0o666, other, now, fixed, unix.EPERM},
				{0o444, other, now, now, unix.EACCES}, {0o444, other, fixed, fixed, unix.EPERM}, {0o000, other, omit, omit, 0},
				{0o020, peer, now, now, 0}, {0o020, extra, now, now, 0}, {0o020, other, now, now, unix.EACCES}, {0o002, peer, now, now, unix.EACCES},
			} {
				e.mode(name, tt.mode)
				e.must(setTimes(name, timespec(1, 1), timespec(2, 2)), "set")
				e.as(tt.u, func() {
					e.want(tt.want, setTimes(name, tt.a, tt.m), "utimensat of a %s %04o: %v %v", k, tt.mode, tt.a, tt.m)
				})
				if tt.want != 0 {
					st := e.stat(name)
					e.is(st.Atim == timespec(1, 1) && st.Mtim == timespec(2, 2), "a refused utimensat set %v %v", st.Atim, st.Mtim)
				}
			}
		}
	})
	e.part("descriptors", func(e *env) {
		e.file("f", 0o644, "x")
		fd := e.open("f", unix.O_RDONLY)
		tv := []unix.Timeval{{Sec: 5, Usec: 6}, {Sec: 7, Usec: 8}}
		e.want(0, unix.Futimes(fd, tv), "futimes")
		e.is(e.stat("f").Mtim == timespec(7, 8000), "futimes set %v", e.stat("f").Mtim)
		// What is written later is newer, what is only read is not.
		w := e.open("f", unix.O_RDWR)
		_, err := unix.Write(w, []byte("y"))
		e.must(err, "write")
		e.must(unix.Fsync(w), "fsync")
		e.is(e.stat("f").Mtim.Sec > 1e9, "a write left mtime at %v", e.stat("f").Mtim)
		e.must(setTimes("f", timespec(5, 5), timespec(6, 6)), "set")
		b := make([]byte, 1)
		_, err = unix.Pread(w, b, 0)
		e.must(err, "read")
		e.is(e.stat("f").Mtim == timespec(6, 6), "a read moved mtime to %v", e.stat("f").Mtim)
	})
}
