package cli

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wythefs/wythe/internal/manage"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/*.txtar")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"wythe": func() { os.Exit(Main(os.Args[1:])) },
	})
}

// Each script has a fresh volume at $URL, over TCP: once of one brick, once of two
// pairs, where the condition "pairs" holds.
func TestScripts(t *testing.T) {
	for _, shape := range []manage.Shape{{Distribute: 1, Replica: 1}, {Distribute: 2, Replica: 2}} {
		t.Run(shape.String(), func(t *testing.T) { scripts(t, shape) })
	}
}

func scripts(t *testing.T, shape manage.Shape) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Condition: func(cond string) (bool, error) {
			if cond != "pairs" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return shape.Replica > 1, nil
		},
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "wythe-script-")
			if err != nil {
				return err
			}
			c, err := manage.Up(context.Background(), manage.UpOptions{
				Dir: dir, Listen: "127.0.0.1", Port: -1, Shape: shape, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				return err
			}
			env.Defer(func() {
				c.Close()
				os.RemoveAll(dir)
			})
			env.Setenv("URL", c.URL())
			env.Setenv("SERVER", c.Addr)
			env.Setenv("TZ", "UTC")
			env.Setenv("TMPDIR", env.WorkDir)
			return nil
		},
	})
}
