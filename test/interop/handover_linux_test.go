package interop

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/brick/check"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// brickMain serves a brick until it is told to end: arguments are its volfile
// and the address.
func brickMain(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	f, err := volfile.Parse(string(text))
	if err != nil {
		return err
	}
	f.Top().Set("transport.socket.listen-port", args[1])
	b, err := brick.Start(ctx, brick.Options{Volfile: f})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(b.Close(), b.Wait())
}

// TestHandOver has a brick directory of the real glusterd served by the real
// brick and by ours in turn, under the same volfile. Each finds what the other
// left, works on it with the other side's client too, and leaves a clean brick.
func TestHandOver(t *testing.T) {
	const port, turns = 49999, 6
	s := realBrick(t)
	g := s.gluster
	client := relayed(t, g.Volfile(t, s.volume, "trusted-"+s.volume+".tcp-fuse.vol"), g.IP, port)
	file := filepath.Join(g.Dir, "brick.vol")
	served := g.Volfile(t, s.volume, s.volume+"."+g.IP+"."+strings.ReplaceAll(strings.Trim(s.brick, "/"), "/", "-")+".vol")
	if err := os.WriteFile(file, []byte(served), 0o644); err != nil {
		t.Fatal(err)
	}

	var look []op
	var seen []result
	var left []string
	for turn := range turns {
		ours := turn%2 == 1
		name := "real brick"
		var process *testenv.Process
		switch {
		case ours:
			name = "our brick"
			process = startAgain(t, g.Node, "brick", file, "49999")
			waitPort(t, g.Node, port)
		case turn > 0:
			g.StartVolume(t, s.volume)
		}

		// The clients change places as well: every second pair of turns.
		var c target
		dir := ""
		if turn/2%2 == 0 {
			if ours {
				dir = g.MountVolfile(t, client, "--acl")
			} else {
				dir = s.mount(t)
			}
			c = startWorker(t, g.Node, dir)
		} else {
			opts := []gfapi.Option{}
			if ours {
				opts = append(opts, gfapi.WithVolfile(client))
			}
			c = newLibrary(mountLibrary(t, s, opts...))
		}
		for i, r := range run(c, look) {
			if r != seen[i] {
				t.Errorf("turn %d, %s: %v gives %v, before it gave %v", turn, name, look[i], r, seen[i])
			}
		}
		if left != nil {
			if d := difference("before", "after", left, describe(t, s.brick)); d != "" {
				t.Errorf("turn %d, %s: looking changed the brick:\n%s", turn, name, d)
			}
		}
		seed := *firstSeed + 50 + uint64(turn)
		ops := stream(seed, *length)
		run(c, ops)
		look = look[:0]
		for _, o := range ops[*length:] {
			if o.Do != "close" {
				look = append(look, o)
			}
		}
		seen = run(c, look)
		if err := c.Close(); err != nil {
			t.Errorf("turn %d: client: %v", turn, err)
		}
		if dir != "" {
			g.Unmount(t, dir)
		}
		if ours {
			terminate(t, process)
		} else {
			s.stop(t)
		}
		left = describe(t, s.brick)
		if bad := faults(left); len(bad) > 0 {
			t.Errorf("turn %d (seed %d), %s: wrong on the brick:\n%s", turn, seed, name, strings.Join(bad, "\n"))
		}
		inspect(t, s.brick, name, !ours)
		if t.Failed() {
			return
		}
	}
}

// inspect lets the checker look at a brick. The real one leaves gfid2path
// attributes of names that were renamed over, which are taken away here.
func inspect(t *testing.T, dir, name string, real bool) {
	t.Helper()
	_, err := check.Run(t.Context(), dir, check.Options{Repair: real, Report: func(p check.Problem) {
		if !real || p.Kind != check.ExtraPointer {
			t.Errorf("%s: %v", name, p)
		}
	}})
	if err != nil {
		t.Errorf("%s: check: %v", name, err)
	}
}
