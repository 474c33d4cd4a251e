package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// runUp runs `wythe up` until it has printed mark, and returns what it printed.
func runUp(t *testing.T, mark string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, args, strings.NewReader(""), w, &errs)
		w.Close()
	}()
	var out []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if bytes.Contains(out, []byte(mark)) {
			cancel()
		}
		if err != nil {
			break
		}
	}
	return string(out) + errs.String(), <-code
}

// The picture of a volume, for each shape.
func TestUpPicture(t *testing.T) {
	want, err := os.ReadFile("testdata/up.golden")
	if err != nil && !*update {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, flags := range [][]string{
		nil,
		{"--distribute", "3", "--replica", "1"},
		{"--distribute", "1", "--replica", "1", "--volume", "single"},
		{"--distribute", "3", "--replica", "3"},
		{"--arbiter", "1"},
		{"--distribute", "1", "--replica", "2", "--arbiter", "1"},
	} {
		dir := t.TempDir()
		out, code := runUp(t, "Ctrl-C", append([]string{"up", "--dir", dir, "--port", "0", "--listen", "127.0.0.1"}, flags...)...)
		if code != exitOK {
			t.Errorf("%q: exit code %d", flags, code)
		}
		out = strings.ReplaceAll(out, dir, "DIR")
		out = regexp.MustCompile(`(port |server-port=|127\.0\.0\.1:)\d+`).ReplaceAllString(out, "${1}PORT")
		got.WriteString("$ wythe up " + strings.Join(flags, " ") + "\n" + out)
	}
	if *update {
		if err := os.WriteFile("testdata/up.golden", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// A directory keeps the shape of its volume: flags may be left away, others are
// refused, and nothing of it is touched then.
func TestUpAgain(t *testing.T) {
	dir := t.TempDir()
	up := func(more ...string) (upOut, string, int) {
		out, code := runUp(t, "\n}\n", append([]string{"--json", "up", "--dir", dir, "--port", "0", "--listen", "127.0.0.1"}, more...)...)
		var o upOut
		json.Unmarshal([]byte(out), &o)
		return o, out, code
	}
	first, out, code := up("--distribute", "1", "--arbiter", "1", "--set", "network.ping-timeout=7")
	if code != exitOK || first.Shape != "1 x (2 + 1) = 3" || first.Replica != 3 || first.Arbiter != 1 || len(first.Bricks) != 3 || !first.Bricks[2].Arbiter || first.Bricks[1].Arbiter {
		t.Fatalf("exit code %d: %s", code, out)
	}
	again, out, code := up()
	if code != exitOK || again.VolumeID != first.VolumeID || again.Shape != first.Shape || again.Options["network.ping-timeout"] != "7" {
		t.Errorf("exit code %d: %s", code, out)
	}
	state, err := os.ReadFile(filepath.Join(dir, "wythe.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--replica", "3"}, {"--replica", "2"}, {"--distribute", "2"}, {"--replica", "1", "--distribute", "3"}} {
		_, out, code := up(flags...)
		if code != exitFailed || !strings.Contains(out, "one set of 3 bricks, one of them an arbiter") || !strings.Contains(out, "another --dir") {
			t.Errorf("%q: exit code %d: %s", flags, code, out)
		}
	}
	if now, err := os.ReadFile(filepath.Join(dir, "wythe.json")); err != nil || !bytes.Equal(now, state) {
		t.Errorf("the state was changed: %s, %v", now, err)
	}
	if _, out, code := up("--arbiter", "1", "--distribute", "1"); code != exitOK {
		t.Errorf("the same shape: exit code %d: %s", code, out)
	}
}
