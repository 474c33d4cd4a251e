package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/manage"
)

// serverCommands are the commands that serve and mount volumes; they need Linux.
func (a *app) serverCommands() []*cobra.Command {
	return []*cobra.Command{a.upCommand(), a.mountCommand(), a.umountCommand(), a.brickCommand(), a.demoCommand()}
}

// upDefault is the shape of a new volume.
var upDefault = manage.Shape{Distribute: 2, Replica: 2}

// upFlags are the flags of up, without those of its directory.
type upFlags struct {
	manage.UpOptions
	bricks int
	set    []string
}

func (o *upFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Volume, "volume", "", "name of the volume (default data)")
	f.IntVar(&o.Shape.Distribute, "distribute", upDefault.Distribute, "sets of bricks that the files of a new volume are distributed over")
	f.IntVar(&o.Shape.Replica, "replica", upDefault.Replica, "bricks of a set, each with a copy of every file of it")
	f.IntVar(&o.Shape.Arbiter, "arbiter", 0, "1: each set has two copies and a brick that only arbitrates")
	f.StringArrayVar(&o.set, "set", nil, "a volume option, as KEY=VALUE with the names of 'gluster volume set'; may be repeated")
	f.StringVar(&o.Listen, "listen", "", "address to listen on (default all)")
	f.IntVar(&o.Port, "port", manage.DefaultPort, "port of the management service; 0 for any free one")
	f.IntVar(&o.BrickPort, "brick-port", 0, "port of the first brick; the next has the next (default any free ones)")
	f.StringVar(&o.Host, "host", "", "name or address by which clients reach the bricks (default that by which they reached the management)")
	f.StringVar(&o.Allow, "allow", "", "client addresses that may connect, as in auth.allow: 10.7.*,192.168.1.0/24, * for all (default those of this machine)")
	f.IntVar(&o.bricks, "bricks", 0, "")
	f.MarkHidden("bricks")
}

// finish turns what was given into options for Up.
func (o *upFlags) finish(cmd *cobra.Command) error {
	f := cmd.Flags()
	given := f.Changed
	if given("bricks") {
		return usageError{fmt.Errorf("there is no --bricks: %d bricks without copies are --distribute %d --replica 1", o.bricks, o.bricks)}
	}
	if given("replica") && o.Shape.Replica < 1 {
		return usageError{fmt.Errorf("--replica %d: a file needs one copy at least; without further copies it is --replica 1", o.Shape.Replica)}
	}
	if given("distribute") && o.Shape.Distribute < 1 {
		return usageError{fmt.Errorf("--distribute %d: files need one set of bricks at least; for one it is --distribute 1", o.Shape.Distribute)}
	}
	switch a, r := o.Shape.Arbiter, o.Shape.Replica; {
	case a == 0:
	case a != 1:
		return usageError{fmt.Errorf("--arbiter %d: a set has one arbiter or none; give --arbiter 1", a)}
	case given("replica") && r != 2 && r != 3:
		return usageError{fmt.Errorf("--arbiter 1 stands beside two copies; leave --replica %d away", r)}
	default:
		o.Shape.Replica = 3 // as in `replica 2 arbiter 1` or `replica 3 arbiter 1`: the arbiter counts
	}
	if !given("distribute") {
		o.Shape.Distribute = 0
	}
	if !given("replica") && o.Shape.Arbiter == 0 {
		o.Shape.Replica = 0
	}
	o.Default = upDefault
	for _, s := range o.set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return usageError{fmt.Errorf("--set %s: an option is KEY=VALUE, as in --set network.ping-timeout=5", s)}
		}
		if o.Options == nil {
			o.Options = map[string]string{}
		}
		o.Options[key] = value
	}
	if o.Port == 0 {
		o.Port = -1
	}
	return nil
}

func (a *app) upCommand() *cobra.Command {
	var o upFlags
	var temp, verbose bool
	cmd := &cobra.Command{
		Use:   "up [--dir DIR | --temp]",
		Short: "Run a cluster in one process: a volume, its bricks and the management",
		Long: `Up runs a volume, its bricks and the management service on port 24007 in one
process, until SIGINT or SIGTERM. GlusterFS's own clients can mount it:

  mount -t glusterfs localhost:/data /mnt

A new volume has two pairs of bricks (2 x 2): files are distributed over the
pairs, and both bricks of its pair have a copy of each file.

  --distribute 3                 three pairs
  --replica 3                    two sets of three, each file on all three
  --arbiter 1                    two sets of two copies and an arbiter
  --distribute 1 --replica 1     one brick

The directory keeps the volume between runs; after a crash, start it again.
Without --allow only clients on this machine may connect.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			o.Log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
			if err := o.finish(cmd); err != nil {
				return err
			}
			switch {
			case temp && o.Dir != "":
				return usageError{errors.New("--dir and --temp exclude each other")}
			case !temp && o.Dir == "":
				return usageError{errors.New("say where the data go with --dir DIR, or --temp for a trial")}
			case temp:
				dir, err := os.MkdirTemp("", "wythe-up-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(dir)
				o.Dir = dir
			}
			return a.runUp(cmd.Context(), o.UpOptions, temp)
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&o.Dir, "dir", "", "directory for the volume, made if need be")
	cmd.Flags().BoolVar(&temp, "temp", false, "a temporary directory, removed at the end")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what happens, not only what goes wrong")
	return cmd
}

func (a *app) runUp(ctx context.Context, o manage.UpOptions, temp bool) error {
	if err := manage.CheckValues(clientside.Registry(), o.Options); err != nil {
		return err
	}
	c, err := manage.Up(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	if a.json {
		if err := a.printJSON(upReport(c)); err != nil {
			return err
		}
	} else if !a.quiet {
		a.printUp(c, o.Allow, temp)
	}
	select {
	case <-ctx.Done():
		if !a.quiet && !a.json {
			fmt.Fprintln(a.err, "stopping")
		}
		return c.Close()
	case err := <-c.Failed():
		return err
	}
}

// upOut is what up --json prints.
type upOut struct {
	Volume     string            `json:"volume"`
	VolumeID   string            `json:"volume_id"`
	Addr       string            `json:"address"`
	URL        string            `json:"url"`
	Shape      string            `json:"shape"`
	Distribute int               `json:"distribute"`
	Replica    int               `json:"replica"`
	Arbiter    int               `json:"arbiter"`
	Options    map[string]string `json:"options,omitempty"`
	Bricks     []upBrick         `json:"bricks"`
}

type upBrick struct {
	Path    string `json:"path"`
	Port    int    `json:"port"`
	Set     int    `json:"set"`
	Arbiter bool   `json:"arbiter,omitempty"`
}

func upReport(c *manage.Cluster) upOut {
	v := c.Volume
	shape := v.Shape()
	out := upOut{v.Name, v.ID.String(), c.Addr, c.URL(), shape.String(), shape.Distribute, shape.Replica, shape.Arbiter, v.Options, nil}
	for i, b := range v.Bricks {
		set, _ := v.Set(i)
		out.Bricks = append(out.Bricks, upBrick{b.Path, c.BrickPort(i), set, v.IsArbiter(i)})
	}
	return out
}

func (a *app) printUp(c *manage.Cluster, allow string, temp bool) {
	v := c.Volume
	w := a.out
	word := "started"
	if c.Fresh {
		word = "made and started"
	}
	fmt.Fprintf(w, "volume %s %s\n\n", v.Name, word)
	drawVolume(w, "  ", v, c.BrickPort)
	fmt.Fprintf(w, "\n  wythe ls %s/\n", c.URL())
	host, port, _ := net.SplitHostPort(c.Addr)
	opt := ""
	if port != strconv.Itoa(manage.DefaultPort) {
		opt = "-o server-port=" + port + " "
	}
	fmt.Fprintf(w, "  mount -t glusterfs %s%s:/%s /mnt\n", opt, host, v.Name)
	if allow == "" {
		fmt.Fprintln(w, "\nOnly clients on this machine may connect (--allow).")
	}
	if temp {
		fmt.Fprintln(w, "The data go away when it stops (--temp).")
	}
	fmt.Fprintln(w, "Ctrl-C stops it.")
}

// setWord is what a set of bricks is called.
func setWord(s manage.Shape) string {
	if s.Replica == 2 {
		return "pair"
	}
	return "set"
}

// drawVolume draws the bricks of v in their sets:
//
//	data ┬─ pair 0 ┬─ brick 0  port 49152  /srv/brick0
//	     │         └─ brick 1  port 49153  /srv/brick1
//	     └─ pair 1 ┬─ …
func drawVolume(w io.Writer, indent string, v *manage.Volume, port func(i int) int) {
	shape := v.Shape()
	blank := func(s string) string { return strings.Repeat(" ", utf8.RuneCountInString(s)) }
	for i, b := range v.Bricks {
		set, place := v.Set(i)
		line := indent + v.Name + " "
		if i > 0 {
			line = blank(line)
		}
		line += branch(set, shape.Distribute, place > 0) + " "
		if shape.Replica > 1 {
			name := fmt.Sprintf("%s %d ", setWord(shape), set)
			if place > 0 {
				name = blank(name)
			}
			line += name + branch(place, shape.Replica, false) + " "
		}
		line += fmt.Sprintf("brick %d  port %d  %s", i, port(i), b.Path)
		if v.IsArbiter(i) {
			line += "  (arbiter: names and attributes only)"
		}
		fmt.Fprintln(w, line)
	}
}

// branch is the twig of item i of n; below tells that it has been drawn and what
// hangs on it goes on.
func branch(i, n int, below bool) string {
	switch {
	case below && i < n-1:
		return "│ "
	case below:
		return "  "
	case n == 1:
		return "──"
	case i == 0:
		return "┬─"
	case i < n-1:
		return "├─"
	}
	return "└─"
}

// brickCommand runs a brick with the arguments of glusterfsd, or one of the
// tools for bricks.
func (a *app) brickCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "brick [glusterfsd arguments]",
		Short: "Run a brick as glusterd starts it; 'brick check DIR' examines one",
		Long: `Brick takes the arguments of GlusterFS's glusterfsd and runs one brick:

  wythe brick -s HOST --volfile-id VOLUME.HOST.PATH --brick-name PATH --brick-port PORT …
  wythe brick --volfile FILE -N

'wythe brick check DIR' examines the directory of a brick that does not run.`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "-h" || args[0] == "--help") {
				return cmd.Help()
			}
			os.Exit(brick.Main(args))
			return nil
		},
	}
	cmd.AddCommand(a.brickCheckCommand())
	return cmd
}

func (a *app) brickCheckCommand() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Examine the directory of a brick that does not run",
		Long: `Check walks names, GFIDs, handles, back-pointers and attributes of a brick and
lists what GlusterFS or Wythe would refuse or hide. With --repair it mends what
can be mended without losing data. Exit code 1 means that problems remain.`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			problems := []string{}
			sum, err := check.Run(cmd.Context(), args[0], check.Options{Repair: repair, Report: func(p check.Problem) {
				problems = append(problems, p.String())
				if !a.json {
					fmt.Fprintln(a.out, p)
				}
			}})
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(struct {
					Problems []string      `json:"problems"`
					Summary  check.Summary `json:"summary"`
				}{problems, sum}); err != nil {
					return err
				}
			} else if !a.quiet {
				fmt.Fprintf(a.out, "%d directories, %d files, %d handles: %d problems, %d mended, %d heal by themselves, %d left\n",
					sum.Dirs, sum.Files, sum.Handles, sum.Problems, sum.Fixed, sum.Heals, sum.Left())
			}
			if sum.Left() > 0 {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be mended without losing data")
	return cmd
}
