package cli

import (
	"context"
	"flag"
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

// Each script has a fresh volume at $URL, over TCP.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "wythe-script-")
			if err != nil {
				return err
			}
			c, err := manage.Up(context.Background(), manage.UpOptions{
				Dir: dir, Listen: "127.0.0.1", Port: -1, Log: slog.New(slog.DiscardHandler),
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
