package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/where"
)

func (a *app) whereCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "where ADDRESS|PATH...",
		Short: "Show where on which bricks a file or directory lives, and in what state",
		Long: `Where shows the hash of a name, the ranges of hashes that its directory gives to
the subvolumes of the volume, the subvolume that has the object, and what each
brick has of it: whether it is there, its gfid, size and time, link files, and
the marks that say which brick misses changes. It changes nothing. Bricks that
are down are named. PATH is one on a mounted GlusterFS volume.`,
		Example: "  wythe where gluster://localhost/data/photos/1.jpg",
		Args:    minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			open := map[string]*mount.Session{}
			defer func() {
				for _, s := range open {
					s.Close(context.Background())
				}
			}()
			reports := []*where.Report{}
			failed := false
			for i, arg := range args {
				t, err := placeOf(arg)
				if err != nil {
					return err
				}
				s := open[t.base()]
				if s == nil {
					if s, err = a.openSession(cmd.Context(), t); err != nil {
						return unreachableError{err}
					}
					open[t.base()] = s
				}
				r, err := where.Find(cmd.Context(), s, processCred(), t.Path)
				if err != nil {
					at := ""
					var pe *fs.PathError
					if errors.As(err, &pe) {
						at = pe.Path
					}
					fmt.Fprintf(a.err, "wythe: %s%s: %v\n", t.base(), at, plain(err))
					failed = true
					continue
				}
				reports = append(reports, r)
				if !a.json {
					if i > 0 {
						fmt.Fprintln(a.out)
					}
					printWhere(a.out, r)
				}
				if err := r.Err(); err != nil {
					fmt.Fprintf(a.err, "wythe: %s%s: %v\n", t.base(), r.Path, fop.Errno(err))
					failed = true
				}
			}
			if a.json {
				if err := a.printJSON(reports); err != nil {
					return err
				}
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
}

func (a *app) openSession(ctx context.Context, t target) (*mount.Session, error) {
	servers, err := volserver.ParseServers(strings.Split(t.Server, ",")...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return mount.Open(ctx, mount.Config{Volume: t.Volume, Servers: servers, Registry: clientside.Registry(), Log: a.log()})
}

func processCred() fop.Cred {
	c := fop.Cred{PID: int32(os.Getpid()), UID: 65534, GID: 65534}
	if uid := os.Getuid(); uid >= 0 {
		c.UID, c.GID = uint32(uid), uint32(os.Getgid())
	}
	return c
}

// placeOf is parseTarget that also takes a path on a mounted volume.
func placeOf(arg string) (target, error) {
	t, err := parseTarget(arg)
	if err != nil || t.remote() {
		return t, err
	}
	name, err := filepath.Abs(arg)
	if err != nil {
		return target{}, err
	}
	// The directory is looked for where it really is, but a link at the end of
	// the path is what is asked for.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil {
		name = filepath.Join(dir, filepath.Base(name))
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return target{}, usageError{fmt.Errorf("%s: mounts are not known here (%v): give an address, gluster://HOST[:PORT]/VOLUME/PATH", arg, err)}
	}
	if t, ok := onMount(string(table), name); ok {
		return t, nil
	}
	return target{}, usageError{fmt.Errorf("%s is not on a mounted GlusterFS volume: give an address, gluster://HOST[:PORT]/VOLUME/PATH", arg)}
}

// onMount finds the volume that has a local path, by the table of mounts
// (proc(5), mountinfo).
func onMount(table, name string) (t target, ok bool) {
	best := -1
	for line := range strings.Lines(table) {
		head, tail, _ := strings.Cut(line, " - ")
		h, f := strings.Fields(head), strings.Fields(tail)
		if len(h) < 5 || len(f) < 2 {
			continue
		}
		point := unescape(h[4])
		rest, inside := strings.CutPrefix(name, strings.TrimSuffix(point, "/"))
		if !inside || rest != "" && rest[0] != '/' || len(point) < best {
			continue
		}
		best = len(point)
		host, volume, colon := strings.Cut(unescape(f[1]), ":")
		volume, sub, _ := strings.Cut(strings.TrimPrefix(volume, "/"), "/")
		if sub != "" {
			sub = "/" + sub
		}
		t = target{Server: host, Volume: volume, Path: unescape(strings.TrimSuffix(h[3], "/")) + sub + rest}
		if t.Path == "" {
			t.Path = "/"
		}
		ok = f[0] == "fuse.glusterfs" && colon && host != "" && volume != ""
	}
	return t, ok
}

// unescape reads a field of mountinfo, where blanks are \040 and the like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			var n int
			if _, err := fmt.Sscanf(s[i+1:i+4], "%03o", &n); err == nil && n < 256 {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func printWhere(w io.Writer, r *where.Report) {
	switch {
	case r.Type != "":
		fmt.Fprintf(w, "%s  %s, gfid %s\n", r.Path, r.Type, r.GFID)
	default:
		fmt.Fprintf(w, "%s  %s\n", r.Path, r.Error)
	}
	if r.Hash != "" {
		of := fmt.Sprintf("%q", r.Name)
		if r.Hashed != r.Name {
			of = fmt.Sprintf("%q, the part of %q that counts", r.Hashed, r.Name)
		}
		fmt.Fprintf(w, "\n  hash %s of %s\n", r.Hash, of)
	}
	if len(r.Ranges) > 0 {
		fmt.Fprintf(w, "\n  ranges of its directory %s\n", r.Directory)
		printRanges(w, r.Ranges, r.HashedSubvolume)
	}
	if len(r.Layout) > 0 {
		fmt.Fprintf(w, "\n  ranges that it gives to what is in it\n")
		printRanges(w, r.Layout, "")
	}
	fmt.Fprintf(w, "\n  %s\n", placement(r))
	fmt.Fprintln(w, "\n  on the bricks")
	for _, sub := range r.Subvolumes {
		fmt.Fprintf(w, "    %s\n", sub.Name)
		tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, c := range sub.Copies {
			fmt.Fprintf(tw, "      %s\t%s\n", c.Brick, copyLine(&c))
		}
		tw.Flush()
		for _, c := range sub.Copies {
			for _, words := range c.Words() {
				fmt.Fprintf(w, "      ! %s says: %s\n", c.Brick, words)
			}
		}
	}
}

func printRanges(w io.Writer, ranges []where.Range, hashed string) {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range ranges {
		span := r.Why
		if r.Start != "" {
			span = r.Start + " - " + r.Stop
			if r.Subvolume == hashed {
				span += "  < the hash"
			}
		}
		fmt.Fprintf(tw, "    %s\t%s\n", r.Subvolume, span)
	}
	tw.Flush()
}

// placement says in a sentence which subvolume has the object, and why.
func placement(r *where.Report) string {
	cached := strings.Join(r.CachedSubvolumes, ", ")
	switch {
	case r.Type == "directory":
		return "a directory is on every subvolume; it is on " + orNone(cached)
	case cached == "" && r.HashedSubvolume == "":
		return "no subvolume has it, and none is responsible for it"
	case cached == "":
		return "no subvolume has it; it would be made on " + r.HashedSubvolume
	case len(r.CachedSubvolumes) > 1:
		return "more than one subvolume has it: " + cached
	case r.HashedSubvolume == "":
		return "it is on " + cached + "; no subvolume is responsible for the hash"
	case cached == r.HashedSubvolume:
		return "it is on " + cached + ", where the hash belongs"
	}
	for _, sub := range r.Subvolumes {
		for _, c := range sub.Copies {
			if sub.Name == r.HashedSubvolume && c.Linkto != "" {
				return "it is on " + cached + "; where the hash belongs, " + sub.Name + ", a link file points to " + c.Linkto
			}
		}
	}
	return "it is on " + cached + ", though the hash belongs to " + r.HashedSubvolume
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// copyLine sums up what a brick has.
func copyLine(c *where.Copy) string {
	state := c.State()
	switch {
	case !c.Up:
		return "down"
	case c.Error != "":
		return "error: " + c.Error
	case !c.Exists:
		return "not there"
	case c.Linkto != "":
		return "link file to " + c.Linkto + "\t\tgfid " + c.GFID
	}
	what := c.Type
	switch {
	case c.Arbiter:
		what += ", arbiter"
	case c.Type == "file":
		what += fmt.Sprintf(", %d bytes", c.Size)
	}
	return what + "\t" + state + "\t" + c.Mtime.Format("2006-01-02 15:04:05.000000000") + "\tgfid " + c.GFID
}
