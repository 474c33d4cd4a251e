package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Version is what wythe --version prints; the build sets it.
var Version = "0.1.0-dev"

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// log is where packages below log: what goes wrong, to standard error.
func (a *app) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError}))
}

// usageError marks errors of the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// unreachableError marks failures to mount the volume.
type unreachableError struct{ error }

func (e unreachableError) Unwrap() error { return e.error }

// errReported means that all failures have been printed already.
var errReported = errors.New("some operations failed")

// app holds what all commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	quiet    bool
	timeout  time.Duration
}

// Main runs the command line and returns the exit code. SIGINT and SIGTERM
// cancel what is under way; a second one ends the process at once.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

// Run is Main with its surroundings given, for tests.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(errOut, "wythe: %v\n", err)
	}
	var usage usageError
	var unreachable unreachableError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "Try '%s --help'.\n", cmd.CommandPath())
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	}
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wythe",
		Short: "GlusterFS volumes, served and used",
		Long: `Wythe serves and uses GlusterFS volumes.

  wythe up --temp                      a cluster in one process, for trying out
  wythe mount HOST:/VOLUME /mnt        mount a volume; wythe umount /mnt
  wythe ls gluster://HOST/VOLUME/PATH  list a directory; cat, put, get, cp … alike
  wythe where gluster://HOST/VOLUME/PATH  on which bricks something lives
  wythe demo                           shows the whole way, from nothing to figures

Addresses are gluster://HOST[:PORT]/VOLUME[/PATH].

Exit codes: 0 all is well, 1 something failed, 2 the command line is wrong,
3 the volume cannot be reached.`,
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	if info, ok := debug.ReadBuildInfo(); ok && Version == "0.1.0-dev" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				root.Version = Version + "+" + s.Value[:12]
			}
		}
	}
	root.SetVersionTemplate("wythe {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print one JSON document instead of text")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress bars, no summaries")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "give up reaching the volume after this long")
	root.AddCommand(a.commands()...)
	return root
}

// args makes cobra's complaint about the number of arguments a usage error.
func exactArgs(n int) cobra.PositionalArgs { return usageArgs(cobra.ExactArgs(n)) }

func minArgs(n int) cobra.PositionalArgs { return usageArgs(cobra.MinimumNArgs(n)) }

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
