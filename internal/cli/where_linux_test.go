package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/where"
)

// While a brick is cut off, where names it, and says in words what its partner
// knows to be missing there; when it is back, so do the marks.
func TestWhereWhileABrickIsAway(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	c, err := manage.Up(t.Context(), manage.UpOptions{Dir: t.TempDir(), Listen: "127.0.0.1", Port: -1, Shape: manage.Shape{Distribute: 2, Replica: 2}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v, err := gfapi.MountURL(t.Context(), c.URL(), gfapi.WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if err := v.WriteFile(fmt.Sprint("f", i), []byte("before"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	whereIs := func(name string) (*where.Report, string) {
		t.Helper()
		var text, out, errs bytes.Buffer
		if code := Run(context.Background(), []string{"where", c.URL() + name}, nil, &text, &errs); code != exitOK {
			t.Fatalf("where: %d, %s", code, &errs)
		}
		if code := Run(context.Background(), []string{"--json", "where", c.URL() + name}, nil, &out, &errs); code != exitOK {
			t.Fatalf("where: %d, %s", code, &errs)
		}
		var reports []*where.Report
		if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != 1 {
			t.Fatalf("%s: %v", &out, err)
		}
		return reports[0], text.String()
	}
	name := ""
	for i := range 8 {
		if r, _ := whereIs(fmt.Sprint("/f", i)); r.HashedSubvolume == "data-replicate-0" {
			name = r.Path
		}
	}
	if name == "" {
		t.Fatal("none of eight files is on the first pair")
	}
	c.CutBrick(1)
	if err := v.WriteFile(name[1:], []byte("written while a brick was away"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := v.Unmount(); err != nil { // with it go marks that wait for more writes
		t.Fatal(err)
	}
	says := fmt.Sprintf("%s says: brick 127.0.0.1:%s misses ", c.Volume.Bricks[0].Path, c.Volume.Bricks[1].Path)
	r, text := whereIs(name)
	left, gone := r.Subvolumes[0].Copies[0], r.Subvolumes[0].Copies[1]
	if gone.Up || left.State() != "marked" || len(left.Pending) != 1 || left.Pending[0].Data == 0 || left.Size != 30 {
		t.Errorf("cut off: %+v and %+v", left, gone)
	}
	if !strings.Contains(text, c.Volume.Bricks[1].Path+"  down\n") || !strings.Contains(text, says) || !strings.Contains(text, " data change") {
		t.Errorf("cut off:\n%s", text)
	}
	c.MendBrick(1)
	r, text = whereIs(name)
	left, back := r.Subvolumes[0].Copies[0], r.Subvolumes[0].Copies[1]
	if !back.Up || back.Size != 6 || left.State() != "marked" || !strings.Contains(text, says) {
		t.Errorf("back again:\n%s", text)
	}
}
