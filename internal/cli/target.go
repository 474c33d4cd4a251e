package cli

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/gfapi"
)

// target is a place: on a volume, or local when Volume is empty.
type target struct {
	Server string // host or host:port, several separated by commas
	Volume string
	Path   string // in the volume, beginning with /; or a local path
}

// parseTarget reads gluster://host[:port][,host…]/volume[/path]; anything else
// is a local path.
func parseTarget(arg string) (target, error) {
	rest, ok := strings.CutPrefix(arg, "gluster://")
	if !ok {
		if strings.Contains(arg, "://") {
			return target{}, usageError{fmt.Errorf("%s: only gluster:// addresses and local paths are known", arg)}
		}
		return target{Path: arg}, nil
	}
	server, rest, _ := strings.Cut(rest, "/")
	volume, path, _ := strings.Cut(rest, "/")
	if server == "" || volume == "" {
		return target{}, usageError{fmt.Errorf("%s: an address is gluster://HOST[:PORT]/VOLUME[/PATH]", arg)}
	}
	return target{Server: server, Volume: volume, Path: "/" + path}, nil
}

// remote reports whether the target is on a volume.
func (t target) remote() bool { return t.Volume != "" }

// String returns the address that was parsed.
func (t target) String() string {
	if !t.remote() {
		return t.Path
	}
	return "gluster://" + t.Server + "/" + t.Volume + t.Path
}

// base is String without the path.
func (t target) base() string { return "gluster://" + t.Server + "/" + t.Volume }

// mounts keeps the volumes that a command has mounted.
type mounts struct {
	a  *app
	by map[string]*gfapi.Volume
}

func (a *app) mounts() *mounts { return &mounts{a: a, by: map[string]*gfapi.Volume{}} }

// get mounts the volume of t, once.
func (m *mounts) get(ctx context.Context, t target) (*gfapi.Volume, error) {
	if v := m.by[t.base()]; v != nil {
		return v, nil
	}
	mctx, cancel := context.WithTimeout(ctx, m.a.timeout)
	defer cancel()
	v, err := gfapi.MountURL(mctx, t.base(), gfapi.WithUmask(0), gfapi.WithLogger(m.a.log()))
	if err != nil {
		return nil, unreachableError{err}
	}
	v = v.WithContext(ctx)
	m.by[t.base()] = v
	return v, nil
}

// close unmounts all.
func (m *mounts) close() {
	for _, v := range m.by {
		v.Unmount()
	}
}

// tree returns the side that t is on.
func (m *mounts) tree(ctx context.Context, t target) (tree, error) {
	if !t.remote() {
		return localTree{}, nil
	}
	v, err := m.get(ctx, t)
	if err != nil {
		return nil, err
	}
	return volumeTree{v, t.base()}, nil
}

// volumeTree is a volume as a tree.
type volumeTree struct {
	*gfapi.Volume
	base string
}

func (v volumeTree) OpenFile(name string, flag int, perm fs.FileMode) (treeFile, error) {
	return v.Volume.OpenFile(name, flag, perm)
}
func (v volumeTree) Chtimes(name string, atime, mtime time.Time) error {
	return v.Volume.Chtimes(name, atime, mtime)
}
func (volumeTree) Join(elem ...string) string { return slashJoin(elem...) }
func (volumeTree) Base(name string) string    { return slashBase(name) }
func (volumeTree) Dir(name string) string     { return slashDir(name) }
func (v volumeTree) Show(name string) string  { return v.base + name }

// eachTarget runs do for every argument, which must be on a volume; failures
// are printed and the rest goes on.
func (a *app) eachTarget(cmd *cobra.Command, args []string, do func(*gfapi.Volume, target) error) error {
	m := a.mounts()
	defer m.close()
	failed := false
	for _, arg := range args {
		t, err := parseTarget(arg)
		if err != nil {
			return err
		}
		if !t.remote() {
			return usageError{fmt.Errorf("%s: an address is gluster://HOST[:PORT]/VOLUME[/PATH]", arg)}
		}
		v, err := m.get(cmd.Context(), t)
		if err != nil {
			return err
		}
		if err := do(v, t); err != nil {
			fmt.Fprintf(a.err, "wythe: %s: %v\n", t, plain(err))
			failed = true
		}
	}
	if failed {
		return errReported
	}
	return nil
}
