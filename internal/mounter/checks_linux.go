package mounter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
)

// FSType is what /proc/mounts calls our mounts.
const FSType = "fuse.glusterfs"

// mountEntry is a line of /proc/self/mountinfo.
type mountEntry struct {
	id, dir, options, fsType, source string
}

// mountAt returns what is mounted last at a directory.
func mountAt(dir string) (mountEntry, bool, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return mountEntry{}, false, err
	}
	all := parseMountinfo(string(b))
	for _, m := range slices.Backward(all) {
		if m.dir == dir {
			return m, true, nil
		}
	}
	return mountEntry{}, false, nil
}

// At returns the true path of a mount point where a volume is mounted.
func At(dir string) (string, error) {
	path, err := findMountPoint(dir)
	if err != nil {
		return "", err
	}
	m, ok, err := mountAt(path)
	if err == nil && (!ok || m.fsType != FSType) {
		err = fmt.Errorf("no GlusterFS volume is mounted on %s: %w", dir, syscall.EINVAL)
	}
	return path, err
}

// parseMountinfo reads the format of proc_pid_mountinfo(5).
func parseMountinfo(text string) []mountEntry {
	var all []mountEntry
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		all = append(all, mountEntry{l[0], unescape(l[4]), l[5], unescape(r[0]), unescape(r[1])})
	}
	return all
}

// unescape undoes the kernel's \ooo for blanks, tabs, newlines and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// placeError is a mount point that is refused, with the exit status of GlusterFS's
// helper.
type placeError struct {
	code int
	err  error
}

func (e *placeError) Error() string { return e.err.Error() }

func (e *placeError) Unwrap() error { return e.err }

func refused(code int, format string, args ...any) error {
	return &placeError{code, fmt.Errorf(format, args...)}
}

// findMountPoint returns the true path of a mount point, which need not answer if
// something dead is mounted there.
func findMountPoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// The last component may be the root of a dead mount; its parents are not.
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", refused(exitFailed, "mount point %s does not exist: %w", dir, err)
	}
	abs = filepath.Join(parent, filepath.Base(abs))
	var st unix.Stat_t
	switch err := unix.Lstat(abs, &st); {
	case errors.Is(err, syscall.ENOENT):
		return "", refused(exitFailed, "mount point %s does not exist: make it with mkdir", dir)
	case errors.Is(err, syscall.ENOTCONN):
		return abs, nil
	case err != nil:
		return "", refused(exitFailed, "mount point %s: %w", dir, err)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		if abs, err = filepath.EvalSymlinks(abs); err != nil {
			return "", refused(exitFailed, "mount point %s: %w", dir, err)
		}
		return findMountPoint(abs)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "", refused(exitFailed, "mount point %s is not a directory: %w", dir, syscall.ENOTDIR)
	}
	return abs, nil
}

// checkPlace refuses mount points that would hide what must not be hidden. dir is
// a true path.
func checkPlace(dir string) error {
	switch dir {
	case "/":
		return refused(exitPlace, "cannot mount over the root directory /")
	case "/tmp":
		return refused(exitPlace, "cannot mount over /tmp, which programs need")
	}
	at, mounted, err := mountAt(dir)
	if err != nil {
		return refused(exitFailed, "list of mounts: %w", err)
	}
	if mounted && at.fsType == FSType {
		remedy := "unmount it first"
		var st unix.Stat_t
		if errors.Is(unix.Stat(dir, &st), syscall.ENOTCONN) {
			remedy = "its process is gone; free the mount point with: umount " + dir
		}
		return refused(exitMounted, "according to mtab, GlusterFS is already mounted on %s (%s); %s", dir, at.source, remedy)
	}
	if b, ok := insideBrick(dir); ok {
		if b == dir {
			return refused(exitPlace, "%s is in use as a brick of a gluster volume; mount elsewhere", dir)
		}
		return refused(exitPlace, "%s is inside %s, a brick of a gluster volume; mount elsewhere", dir, b)
	}
	if b, ok := brickBelow(dir); ok {
		return refused(exitPlace, "%s is a parent of the brick %s, which would be hidden; mount elsewhere", dir, b)
	}
	return nil
}

// brickMarks are attributes of the root of a brick, GlusterFS's and that of bricks
// that are served without root.
var brickMarks = []string{"trusted.glusterfs.volume-id", brickfs.Marker}

func isBrick(dir string) bool {
	for _, name := range brickMarks {
		if n, err := unix.Lgetxattr(dir, name, nil); err == nil && n > 0 {
			return true
		}
	}
	return false
}

// insideBrick finds the brick that dir is or is in. Directories of a brick have a
// gfid even where its root is not seen, as in a container.
func insideBrick(dir string) (string, bool) {
	for d := dir; d != "/"; d = filepath.Dir(d) {
		if isBrick(d) {
			return d, true
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Type != unix.FUSE_SUPER_MAGIC {
		if n, err := unix.Lgetxattr(dir, "trusted.gfid", nil); err == nil && n == 16 {
			return dir, true
		}
	}
	return "", false
}

// maxChildren bounds the search for bricks right below a mount point.
const maxChildren = 4096

// brickBelow finds a brick below dir: among those that the management daemon of
// this machine knows and that are here, and among the children of dir.
func brickBelow(dir string) (string, bool) {
	files, _ := filepath.Glob("/var/lib/glusterd/vols/*/bricks/*")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			path, ok := strings.CutPrefix(strings.TrimSpace(line), "path=")
			if ok && strings.HasPrefix(path, dir+"/") && isBrick(path) {
				return path, true
			}
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", false
	}
	defer d.Close()
	children, _ := d.ReadDir(maxChildren)
	for _, c := range children {
		if path := filepath.Join(dir, c.Name()); c.IsDir() && isBrick(path) {
			return path, true
		}
	}
	return "", false
}
