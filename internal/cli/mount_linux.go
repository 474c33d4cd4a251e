package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/mounter"
)

// Programs are GlusterFS's, by the names with which ours can be called.
var Programs = map[string]func(args []string) int{
	"glusterfsd":      func(args []string) int { return Main(append([]string{"brick"}, args...)) },
	"glusterfs":       mounter.ClientMain,
	"mount.glusterfs": mounter.HelperMain,
	// How mount(8) finds a helper for what is mounted already: mount -o remount.
	"mount.fuse.glusterfs": mounter.HelperMain,
}

// exitError ends a command that has said what there is to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func (a *app) mountCommand() *cobra.Command {
	var opts []string
	given := map[string]*[]string{}
	cmd := &cobra.Command{
		Use:   "mount SERVER[,SERVER…]:/VOLUME[/DIRECTORY] MOUNT-POINT",
		Short: "Mount a volume",
		Long: `Mount mounts a volume, or a directory of one, through FUSE, and returns when its
root answers. Servers are asked in turn for the volume; all that matters later
they tell themselves. For as long as --mount-timeout it waits for a first server.

  wythe mount server1:/data /mnt
  wythe mount server1,server2:/data/home /home --acl
  wythe mount server1:/data /mnt -o ro,noatime,log-level=WARNING
  wythe umount /mnt

-o takes the options of mount -t glusterfs; 'mount.glusterfs -h' lists them. As a
flag each has two dashes. In place of SERVER:/VOLUME the name of a volfile or
gluster://SERVER/VOLUME can be given. For /etc/fstab and mount -t glusterfs this
program must be called /sbin/mount.glusterfs ('make install' sees to that).

Exit codes: 0 the root of the mount answers, 1 it failed or the command line is
wrong, 2 the mount point must not be mounted over, 32 it is mounted already.`,
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := mountSource(args[0])
			if err != nil {
				return err
			}
			req, err := mounter.ParseOptions(source, args[1], opts, mounter.Readable)
			if err != nil {
				return usageError{err}
			}
			var extra []string
			for _, f := range mounter.Flags() {
				for _, v := range *given[f.Name] {
					word := "--" + f.Name
					if f.Value != "" {
						word += "=" + v
					}
					extra = append(extra, word)
				}
			}
			req.Add(extra...)
			if code := req.Run(mounter.RunOptions{Program: "wythe mount"}); code != exitOK {
				return exitError(code)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&opts, "options", "o", nil, "options as of mount -t glusterfs, a `LIST` separated by commas")
	for _, flag := range mounter.Flags() {
		v := &mountFlag{value: flag.Value}
		given[flag.Name] = &v.given
		short := ""
		if flag.Name == "no-daemon" {
			short = "N"
		}
		added := f.VarPF(v, flag.Name, short, flag.Help)
		switch {
		case flag.Value == "":
			added.NoOptDefVal = "true" // as the library's own flags without a value
		case flag.Optional:
			added.NoOptDefVal = "on"
		}
		if other := flagAliases[flag.Name]; other != "" {
			alias := f.VarPF(v, other, "", flag.Help)
			alias.Hidden, alias.NoOptDefVal = true, added.NoOptDefVal
		}
	}
	return cmd
}

// flagAliases are other names of flags.
var flagAliases = map[string]string{"fuse-transport": "transport", "no-daemon": "foreground"}

// mountFlag is a flag that mounter checks.
type mountFlag struct {
	value string // what its value is called, "" if it takes none
	given []string
}

func (m *mountFlag) String() string { return "" }

// Type is what the help calls the value; one called bool is not shown.
func (m *mountFlag) Type() string { return cmp.Or(m.value, "bool") }

func (m *mountFlag) Set(v string) error {
	switch {
	case m.value == "" && v != "true":
		return errors.New("it takes no value")
	case v == "":
		return errors.New("the value is empty")
	}
	m.given = append(m.given, v)
	return nil
}

// mountSource turns a gluster:// address into what mount(8) is given.
func mountSource(arg string) (string, error) {
	if !strings.Contains(arg, "://") {
		return arg, nil
	}
	t, err := parseTarget(arg)
	if err != nil {
		return "", err
	}
	return t.Server + ":/" + t.Volume + strings.TrimSuffix(t.Path, "/"), nil
}

func (a *app) umountCommand() *cobra.Command {
	var lazy, force bool
	cmd := &cobra.Command{
		Use:   "umount MOUNT-POINT…",
		Short: "Unmount volumes",
		Long: `Umount unmounts volumes, as umount(8) does. The process that serves a mount ends
with it.`,
		Args: minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			failed := false
			for _, dir := range args {
				if err := unmount(dir, lazy, force); err != nil {
					fmt.Fprintf(a.err, "wythe: %v\n", err)
					failed = true
				}
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "take the mount point away now; what has files open goes on until it closes them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "what is under way fails")
	return cmd
}

func unmount(dir string, lazy, force bool) error {
	m, err := mounter.At(dir)
	if err != nil {
		return err
	}
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	if force {
		flags |= unix.MNT_FORCE
	}
	switch err := unix.Unmount(m, flags); {
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%s is in use: end what uses it (fuser -m %s lists it), or give --lazy: %w", dir, dir, err)
	case err != nil:
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
