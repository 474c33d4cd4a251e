package posix

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// dirent is an entry as getdents64 gives it.
type dirent struct {
	name string
	ino  uint64
	off  int64
	kind byte
}

// getdents reads once.
func getdents(fd, size int) ([]dirent, error) {
	buf := make([]byte, size)
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		return nil, err
	}
	var list []dirent
	for b := buf[:n]; len(b) > 0; {
		length := binary.NativeEndian.Uint16(b[16:])
		name := b[19:length]
		if i := slices.Index(name, 0); i >= 0 {
			name = name[:i]
		}
		list = append(list, dirent{name: string(name), ino: binary.NativeEndian.Uint64(b), off: int64(binary.NativeEndian.Uint64(b[8:])), kind: b[18]})
		b = b[length:]
	}
	return list, nil
}

// readAll reads the rest of a directory.
func readAll(fd, size int) ([]dirent, error) {
	var all []dirent
	for {
		some, err := getdents(fd, size)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all = append(all, some...)
	}
}

// readNames is the rest of a directory without . and .., sorted.
func readNames(fd int) ([]string, error) {
	all, err := readAll(fd, 32<<10)
	names := []string{}
	for _, d := range all {
		if d.name != "." && d.name != ".." {
			names = append(names, d.name)
		}
	}
	slices.Sort(names)
	return names, err
}

func listNames(dir string) ([]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readNames(fd)
}

func readdirRules(e *env) {
	e.part("lists", func(e *env) {
		e.make(directory, "d", 0o755)
		d := e.open("d", unix.O_RDONLY)
		all, err := readAll(d, 4096)
		e.want(0, err, "list an empty directory")
		e.is(len(all) == 2, "an empty directory has %d entries", len(all))
		types := map[kind]byte{regular: unix.DT_REG, directory: unix.DT_DIR, symlink: unix.DT_LNK, fifo: unix.DT_FIFO, socket: unix.DT_SOCK, block: unix.DT_BLK, char: unix.DT_CHR}
		for _, k := range allKinds {
			e.make(k, "d/"+string(k), 0o644)
		}
		_, err = unix.Seek(d, 0, 0)
		e.want(0, err, "rewind")
		all, err = readAll(d, 4096)
		e.want(0, err, "list")
		seen := map[string]bool{}
		for _, de := range all {
			e.is(!seen[de.name], "%s is listed twice", de.name)
			seen[de.name] = true
			if t, ok := types[kind(de.name)]; ok {
				e.is(de.kind == t || de.kind == unix.DT_UNKNOWN, "a %s is listed as type %d, want %d", de.name, de.kind, t)
				e.is(de.ino == e.stat("d/"+de.name).Ino, "%s is listed with inode %d, has %d", de.name, de.ino, e.stat("d/"+de.name).Ino)
			}
		}
		e.is(len(seen) == len(allKinds)+2 && seen["."] && seen[".."], "listed are %v", seen)
		e.make(regular, "f", 0o644)
		f := e.open("f", unix.O_RDONLY)
		_, err = getdents(f, 4096)
		e.want(unix.ENOTDIR, err, "list a file")
		_, err = getdents(d, 4)
		e.wantAny([]unix.Errno{unix.EINVAL, 0}, err, "list with room for nothing")
	})
	e.part("attributes", func(e *env) { // a listing brings attributes along, or it does not; it changes none
		e.make(directory, "d", 0o755)
		for _, k := range allKinds {
			name := "d/" + string(k)
			e.make(k, name, 0o640)
			e.must(unix.Lchown(name, 3, 4), "chown")
			at := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9 + 1}}
			e.must(unix.UtimesNanoAt(unix.AT_FDCWD, name, at, unix.AT_SYMLINK_NOFOLLOW), "utimensat")
		}
		was := map[kind]unix.Stat_t{}
		for _, k := range allKinds {
			was[k] = e.stat("d/" + string(k))
		}
		for i := range 3 {
			names, err := listNames(filepath.Join(e.dir, "d"))
			e.want(0, err, "list")
			e.is(len(names) == len(allKinds), "listed are %q", names)
			for _, k := range allKinds {
				st := e.stat("d/" + string(k))
				e.is(st == was[k], "a %s has %+v after %d listings, %+v before", k, st, i+1, was[k])
			}
		}
	})
	e.part("many", func(e *env) {
		const n = 500
		want := map[string]bool{}
		for i := range n {
			name := fmt.Sprintf("file-%0*d", 1+i%200, i)
			e.make(regular, name, 0o644)
			want[name] = true
		}
		for _, size := range []int{300, 1000, 4096, 1 << 20} {
			fd, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			e.must(err, "open")
			all, err := readAll(fd, size)
			e.want(0, err, "list with a buffer of %d", size)
			e.is(len(all) == n+2, "a directory of %d has %d entries with a buffer of %d", n, len(all), size)
			got := map[string]bool{}
			for _, de := range all {
				got[de.name] = true
			}
			e.is(len(got) == len(all), "names are listed twice")
			for name := range want {
				if !got[name] {
					e.is(false, "%s is not listed", short(name))
				}
			}
			// Back to any place.
			for _, i := range []int{0, 1, 2, 3, len(all) / 2, len(all) - 2} {
				_, err := unix.Seek(fd, all[i].off, 0)
				e.want(0, err, "seek in a directory")
				rest, err := readAll(fd, size)
				e.want(0, err, "list from a place")
				e.is(len(rest) == len(all)-i-1, "from place %d on: %d entries, want %d", i, len(rest), len(all)-i-1)
				if len(rest) > 0 && i+1 < len(all) {
					e.is(rest[0].name == all[i+1].name, "at place %d: %s, want %s", i+1, short(rest[0].name), short(all[i+1].name))
				}
			}
			unix.Close(fd)
		}
	})
	// What is there all the time is listed once, whatever else comes and goes.
	e.part("changing", func(e *env) {
		for i := range 300 {
			e.make(regular, fmt.Sprintf("stay%d", i), 0o644)
			e.make(regular, fmt.Sprintf("go%d", i), 0o644)
		}
		fd := e.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
		seen := map[string]int{}
		for round := 0; ; round++ {
			some, err := getdents(fd, 1024)
			e.want(0, err, "list")
			if len(some) == 0 {
				break
			}
			for _, de := range some {
				seen[de.name]++
				if len(de.name) > 2 && de.name[:2] == "go" {
					e.want(0, unix.Unlink(de.name), "unlink of what is listed")
				}
			}
			if round < 100 {
				e.make(regular, fmt.Sprintf("new%d", round), 0o644)
			}
		}
		for i := range 300 {
			name := fmt.Sprintf("stay%d", i)
			e.is(seen[name] == 1, "%s is listed %d times", name, seen[name])
			name = fmt.Sprintf("go%d", i)
			e.is(seen[name] == 1, "%s is listed %d times", name, seen[name])
		}
		names, err := listNames(".")
		e.must(err, "list")
		for _, name := range names {
			e.is(name[:2] != "go", "%s was removed and is listed", name)
		}
	})
	e.part("times", func(e *env) {
		e.make(directory, "d", 0o755)
		e.times("listing", map[string]string{"d": "", ".": ""}, func() {
			_, err := listNames("d")
			e.want(0, err, "list")
		})
	})
}

func statfsRules(e *env) {
	var sf unix.Statfs_t
	e.want(0, unix.Statfs(".", &sf), "statfs")
	e.is(sf.Bsize > 0 && sf.Blocks > 0, "statfs says %d blocks of %d", sf.Blocks, sf.Bsize)
	e.is(sf.Bfree <= sf.Blocks && sf.Bavail <= sf.Bfree, "statfs says %d free, %d available of %d blocks", sf.Bfree, sf.Bavail, sf.Blocks)
	e.is(sf.Files == 0 || sf.Ffree <= sf.Files, "statfs says %d free of %d inodes", sf.Ffree, sf.Files)
	e.make(regular, "f", 0o644)
	fd := e.open("f", unix.O_RDWR)
	var again unix.Statfs_t
	e.want(0, unix.Fstatfs(fd, &again), "fstatfs")
	e.is(again.Type == sf.Type && again.Bsize == sf.Bsize && again.Blocks == sf.Blocks && again.Namelen == sf.Namelen, "fstatfs and statfs differ: %+v, %+v", again, sf)
	st := e.stat("f")
	e.is(st.Blksize >= 512 && st.Blksize&(st.Blksize-1) == 0, "blksize is %d", st.Blksize)
	e.is(st.Dev == e.stat(".").Dev, "a file is on another device than its directory")
	_, err := unix.Pwrite(fd, fill(8<<20, 1), 0)
	e.must(err, "write")
	e.must(unix.Fsync(fd), "fsync")
	st = e.stat("f")
	e.is(st.Blocks >= 8<<20/512, "8 MiB take %d blocks of 512", st.Blocks)
}
