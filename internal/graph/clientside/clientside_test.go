package clientside

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestGlusterd builds the graphs of clients that glusterd writes.
func TestGlusterd(t *testing.T) {
	for _, c := range []struct {
		file  string
		errno error
		words []string // of the error
	}{
		{"one.tcp-fuse.vol", nil, nil},
		{"trusted-one.tcp-fuse.vol", nil, nil},
		{"trusted-many.tcp-fuse.vol", syscall.ENOTSUP, []string{"features/shard"}},
		{"trusted-rep.tcp-fuse.vol", nil, nil},
		{"ec.tcp-fuse.vol", syscall.ENOTSUP, []string{"ec-disperse-0", "cluster/disperse"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			b, err := os.ReadFile("../testdata/" + c.file)
			if err != nil {
				t.Fatal(err)
			}
			file, err := volfile.Parse(string(b))
			if err != nil {
				t.Fatal(err)
			}
			// Nobody is there, and at once.
			volfile.Override{Pattern: "*-client-*", Key: "remote-host", Value: "127.0.0.1"}.Apply(file)
			volfile.Override{Pattern: "*-client-*", Key: "remote-port", Value: "1"}.Apply(file)
			var log bytes.Buffer
			g, err := graph.Build(t.Context(), file, Registry(), &xlator.Env{}, graph.WithLog(slog.New(slog.NewTextHandler(&log, nil))))
			if c.errno == nil && err != nil || !errors.Is(err, c.errno) {
				t.Fatalf("error %v, want %v", err, c.errno)
			}
			if err == nil {
				if err := g.Close(); err != nil {
					t.Error(err)
				}
				if strings.Contains(log.String(), "unknown") || strings.Contains(log.String(), "no effect") {
					t.Errorf("options that glusterd writes are unknown or without effect:\n%s", &log)
				}
				for _, v := range file.Volumes {
					_, have := Registry()[v.Type]
					left := false
					for line := range strings.Lines(log.String()) {
						left = left || strings.Contains(line, "left out") && strings.HasSuffix(line, "type="+v.Type+"\n")
					}
					if left == have {
						t.Errorf("%s is left out: %v\n%s", v.Type, !have, &log)
					}
				}
				return
			}
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in %q", w, err)
				}
			}
		})
	}
}
