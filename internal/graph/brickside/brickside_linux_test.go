package brickside

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestGlusterd runs the volfiles that glusterd writes for bricks of fresh
// volumes, over a file system.
func TestGlusterd(t *testing.T) {
	testenv.NeedRoot(t)
	for _, c := range []struct{ file, brick string }{
		{"one.host.bricks-one.vol", "/bricks/one"},
		{"rep.host.bricks-r1.vol", "/bricks/r1"},
		{"ec.host.bricks-e1.vol", "/bricks/e1"},
	} {
		t.Run(c.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("../testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			dir := testenv.LoopFS(t, "xfs", 512) + "/brick"
			prepare(t, dir, string(b))
			file, err := volfile.Parse(strings.ReplaceAll(string(b), c.brick, dir))
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			g, err := graph.Build(t.Context(), file, Registry(), nil, graph.WithLog(slog.New(slog.NewTextHandler(&log, nil))))
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			top, ok := g.Find(dir) // the brick as clients name it
			if !ok {
				t.Fatalf("no volume %s", dir)
			}
			r, err := fop.Call(t.Context(), top, &fop.Lookup{GFID: fop.RootGFID})
			if err != nil || r.Stat.GFID != fop.RootGFID || r.Stat.Mode&fop.ModeFmt != fop.ModeDir {
				t.Errorf("%+v, %v", r, err)
			}
			if diff := cmp.Diff(missing(file), left(log.String())); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if strings.Contains(log.String(), "unknown") {
				t.Errorf("options that glusterd writes are unknown:\n%s", &log)
			}
			same := file.Clone()
			if err := g.Reconfigure(same); err != nil {
				t.Errorf("its own volfile again: %v", err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// missing are the types of a volfile that are not registered.
func missing(file *volfile.File) []string {
	var all []string
	for _, v := range file.Volumes {
		if _, ok := Registry()[v.Type]; !ok {
			all = append(all, v.Type)
		}
	}
	slices.Sort(all)
	return all
}

// left finds the types that a log says are left out.
func left(log string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`left out.* type=(\S+)`).FindAllStringSubmatch(log, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// prepare makes a brick directory as glusterd does at volume create.
func prepare(t *testing.T, dir, text string) {
	t.Helper()
	id, err := fop.ParseGFID(regexp.MustCompile(`volume-id (\S+)`).FindStringSubmatch(text)[1])
	if err == nil {
		err = CreateBrick(dir, id, true)
	}
	if err != nil {
		t.Fatal(err)
	}
}
