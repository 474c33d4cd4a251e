package mounter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// clientName is how the process of a mount is called in ps, as GlusterFS's.
const clientName = "/usr/sbin/glusterfs"

// helperFlags are what mount(8) and people give besides the operands.
type helperFlags struct {
	operands []string
	opts     []string
	fake     bool // -f: do all but mount
	verbose  bool
	help     bool
	version  bool
}

// parseHelper reads the arguments of a mount helper; see mount(8), EXTERNAL
// HELPERS.
func parseHelper(args []string) (*helperFlags, error) {
	h := new(helperFlags)
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[0] != '-' {
			h.operands = append(h.operands, word)
			continue
		}
		switch word {
		case "--help":
			h.help = true
			continue
		case "--version":
			h.version = true
			continue
		}
		for j := 1; j < len(word); j++ {
			value := func() (string, error) {
				if rest := word[j+1:]; rest != "" {
					j = len(word)
					return rest, nil
				}
				if i++; i == len(args) {
					return "", usage("option -%c needs a value", word[j])
				}
				return args[i], nil
			}
			switch word[j] {
			case 'f':
				h.fake = true
			case 'v':
				h.verbose = true
			case 'n', 's': // the list of mounts is the kernel's; nobody else is sloppy
			case 'r':
				h.opts = append(h.opts, "ro")
			case 'w':
				h.opts = append(h.opts, "rw")
			case 'h':
				h.help = true
			case 'V':
				h.version = true
			case 'o':
				v, err := value()
				if err != nil {
					return nil, err
				}
				h.opts = append(h.opts, v)
			case 't':
				v, err := value()
				if err != nil {
					return nil, err
				}
				if v != "glusterfs" && v != FSType {
					return nil, usage("file system type %q is not glusterfs", v)
				}
			case 'N':
				return nil, usage("option -N is not supported: mount inside of another namespace with nsenter --mount")
			default:
				return nil, usage("option -%c is not known", word[j])
			}
		}
	}
	return h, nil
}

// HelperMain is mount.glusterfs. args are those of the command line without the
// program's name. It returns the exit status.
func HelperMain(args []string) int {
	h, err := parseHelper(args)
	switch {
	case err != nil:
		return helperFailed(err)
	case h.help:
		printHelperHelp(os.Stdout)
		return 0
	case h.version:
		fmt.Println(Version)
		return 0
	case len(h.operands) != 2:
		return helperFailed(usage("two operands are needed, SERVER:/VOLUME and the mount point; there are %d", len(h.operands)))
	}
	req, err := ParseOptions(h.operands[0], h.operands[1], h.opts, Readable)
	if err != nil {
		return helperFailed(err)
	}
	return req.Run(RunOptions{Program: "mount.glusterfs", Fake: h.fake, Verbose: h.verbose})
}

func helperFailed(err error) int {
	fmt.Fprintln(os.Stderr, "mount.glusterfs:", err)
	var wrong *UsageError
	if errors.As(err, &wrong) {
		fmt.Fprintln(os.Stderr, "Usage: mount.glusterfs SERVER:/VOLUME[/DIRECTORY] MOUNT-POINT [-o OPTIONS]; mount.glusterfs -h lists the options.")
	}
	return exitFailed
}

// Readable says whether a path is a volfile to read.
func Readable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// RunOptions are about how a Request is carried out.
type RunOptions struct {
	Program string // in messages
	Fake    bool   // only check
	Verbose bool
}

// Run carries a request out and returns the exit status of mount.glusterfs: 0
// when the root of the mount answers.
func (r *Request) Run(o RunOptions) int {
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", o.Program, err)
		var place *placeError
		if errors.As(err, &place) {
			return place.code
		}
		return exitFailed
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(os.Stderr, "%s: %s\n", o.Program, w)
	}
	dir, err := findMountPoint(r.Dir)
	if err != nil {
		return fail(err)
	}
	if r.Remount {
		return r.remount(dir, o, fail)
	}
	a, err := ParseArguments(r.Args)
	if err != nil {
		return fail(err)
	}
	for _, w := range a.Warnings {
		fmt.Fprintf(os.Stderr, "%s: warning: %s\n", o.Program, w)
	}
	if err := checkPlace(dir); err != nil {
		return fail(err)
	}
	if os.Geteuid() != 0 {
		return fail(fmt.Errorf("only root can mount: %w", os.ErrPermission))
	}
	if o.Verbose {
		fmt.Fprintf(os.Stderr, "%s: %s %s\n", o.Program, clientName, strings.Join(r.Args, " "))
	}
	switch {
	case o.Fake:
		return 0
	case a.CheckVolfile:
		return (&process{args: a, log: quiet}).checkVolfile()
	case a.NoDaemon, a.Debug:
		return (&process{args: a, source: r.Source}).run()
	}
	status := launch(append([]string{clientName}, r.Args...), r.Source)
	if status != 0 {
		r.sweep(dir)
		fmt.Fprintf(os.Stderr, "Mounting glusterfs on %s failed.\n", r.Dir)
		return exitFailed
	}
	return 0
}

// sweep frees the mount point of a process that was killed while it mounted.
func (r *Request) sweep(dir string) {
	if m, ok, err := mountAt(dir); err == nil && ok && m.fsType == FSType && m.source == r.Source {
		unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
}

// kernelFlags are the options that a remount can change.
var kernelFlags = map[string]struct{ set, clear uintptr }{
	"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
	"noatime": {set: unix.MS_NOATIME, clear: unix.MS_RELATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME, clear: unix.MS_NOATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME, clear: unix.MS_NOATIME | unix.MS_RELATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
}

// remount changes what the kernel keeps of a mount. The rest is for the life of
// the process that serves it.
func (r *Request) remount(dir string, o RunOptions, fail func(error) int) int {
	at, ok, err := mountAt(dir)
	switch {
	case err != nil:
		return fail(err)
	case !ok || at.fsType != FSType:
		return fail(fmt.Errorf("%s cannot be remounted: no GlusterFS volume is mounted there", r.Dir))
	}
	var flags uintptr = unix.MS_REMOUNT
	for _, k := range append(strings.Split(at.options, ","), r.Kernel...) {
		f := kernelFlags[k]
		flags = flags&^f.clear | f.set
	}
	for _, k := range r.Kernel {
		if _, ok := kernelFlags[k]; !ok {
			r.Other = append(r.Other, k)
		}
	}
	if len(r.Other) > 0 {
		slices.Sort(r.Other)
		fmt.Fprintf(os.Stderr, "%s: a remount leaves as they are: %s; unmount and mount again to change them\n", o.Program, strings.Join(slices.Compact(r.Other), ", "))
	}
	if o.Fake {
		return 0
	}
	if err := unix.Mount(at.source, dir, "", flags, ""); err != nil {
		return fail(fmt.Errorf("remount of %s: %w", r.Dir, err))
	}
	return 0
}

func printHelperHelp(w io.Writer) {
	fmt.Fprint(w, `Usage: mount.glusterfs SERVER[,SERVER…]:/VOLUME[/DIRECTORY] MOUNT-POINT [-o OPTIONS]
       mount.glusterfs VOLFILE MOUNT-POINT [-o OPTIONS]

It is called by mount -t glusterfs, and for lines of /etc/fstab such as
  server1:/data  /mnt/data  glusterfs  defaults,_netdev,backup-volfile-servers=server2:server3  0 0

Options:
`)
	printOptions(w)
	fmt.Fprintln(w, `
-f checks everything but does not mount, -v shows the command line of the
client, -V prints the version.
Exit status: 0 the root of the mount answers, 1 it failed or the command line is
wrong, 2 the mount point must not be mounted over, 32 it is mounted already.`)
}
