package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/manage"
)

// serverCommands are the commands that serve volumes; they need Linux.
func (a *app) serverCommands() []*cobra.Command {
	return []*cobra.Command{a.upCommand(), a.brickCommand(), a.demoCommand()}
}

// upFlags are the flags of up, without those of its directory.
func upFlags(cmd *cobra.Command, o *manage.UpOptions) {
	f := cmd.Flags()
	f.StringVar(&o.Volume, "volume", "", "name of the volume (default data)")
	f.IntVar(&o.Bricks, "bricks", 0, "number of bricks of a new volume (default 1)")
	f.StringVar(&o.Listen, "listen", "", "address to listen on (default all)")
	f.IntVar(&o.Port, "port", manage.DefaultPort, "port of the management service; 0 for any free one")
	f.IntVar(&o.BrickPort, "brick-port", 0, "port of the first brick; the next has the next (default any free ones)")
	f.StringVar(&o.Host, "host", "", "name or address by which clients reach the bricks (default that by which they reached the management)")
	f.StringVar(&o.Allow, "allow", "", "client addresses that may connect, as in auth.allow: 10.7.*,192.168.1.0/24, * for all (default those of this machine)")
}

func (a *app) upCommand() *cobra.Command {
	var o manage.UpOptions
	var temp, verbose bool
	cmd := &cobra.Command{
		Use:   "up [--dir DIR | --temp]",
		Short: "Run a cluster in one process: a volume, its bricks and the management",
		Long: `Up runs a volume, its bricks and the management service on port 24007 in one
process, until SIGINT or SIGTERM. GlusterFS's own clients can mount it:

  mount -t glusterfs localhost:/data /mnt

The directory keeps the volume between runs; after a crash, start it again.
Without --allow only clients on this machine may connect.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			o.Log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
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
			if o.Port == 0 {
				o.Port = -1
			}
			return a.runUp(cmd.Context(), o, temp)
		},
	}
	upFlags(cmd, &o)
	cmd.Flags().StringVar(&o.Dir, "dir", "", "directory for the volume, made if need be")
	cmd.Flags().BoolVar(&temp, "temp", false, "a temporary directory, removed at the end")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what happens, not only what goes wrong")
	return cmd
}

func (a *app) runUp(ctx context.Context, o manage.UpOptions, temp bool) error {
	c, err := manage.Up(ctx, o)
	if err != nil {
		return err
	}
	defer c.Close()
	v := c.Volume
	if a.json {
		type brickOut struct {
			Path string `json:"path"`
			Port int    `json:"port"`
		}
		out := struct {
			Volume   string     `json:"volume"`
			VolumeID string     `json:"volume_id"`
			Addr     string     `json:"address"`
			URL      string     `json:"url"`
			Bricks   []brickOut `json:"bricks"`
		}{v.Name, v.ID.String(), c.Addr, c.URL(), nil}
		for i, b := range v.Bricks {
			out.Bricks = append(out.Bricks, brickOut{b.Path, c.BrickPort(i)})
		}
		if err := a.printJSON(out); err != nil {
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

func (a *app) printUp(c *manage.Cluster, allow string, temp bool) {
	v := c.Volume
	w := a.out
	word := "started"
	if c.Fresh {
		word = "made and started"
	}
	fmt.Fprintf(w, "volume %s %s\n", v.Name, word)
	for i, b := range v.Bricks {
		branch := "├─"
		if i == len(v.Bricks)-1 {
			branch = "└─"
		}
		fmt.Fprintf(w, "  %s brick %d  port %d  %s\n", branch, i, c.BrickPort(i), b.Path)
	}
	fmt.Fprintf(w, "\n  wythe ls %s/\n", c.URL())
	host, port, _ := net.SplitHostPort(c.Addr)
	opt := ""
	if port != strconv.Itoa(manage.DefaultPort) {
		opt = "-o server-port=" + port + " "
	}
	fmt.Fprintf(w, "  mount -t glusterfs %s%s:/%s /mnt\n", opt, host, v.Name)
	if len(v.Bricks) > 1 {
		fmt.Fprintln(w, "\nOnly GlusterFS's own clients use volumes of several bricks so far; for the rest give --bricks 1.")
	}
	if allow == "" {
		fmt.Fprintln(w, "\nOnly clients on this machine may connect (--allow).")
	}
	if temp {
		fmt.Fprintln(w, "The data go away when it stops (--temp).")
	}
	fmt.Fprintln(w, "Ctrl-C stops it.")
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
