package volserver

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volfile"
)

// TestGlusterd asks the real one.
func TestGlusterd(t *testing.T) {
	g := testenv.Gluster(t)
	brick := testenv.LoopFS(t, "xfs", 512) + "/brick"
	g.Create(t, "data", brick)
	server := Server{"tcp", g.Addr(DefaultPort)}
	client := func(id, brick string) *Client {
		return newClient(t, Config{Servers: []Server{server}, ID: id, Brick: brick, Dial: g.DialContext})
	}
	c := client("data", "")
	text, err := c.Fetch(timeout(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	old, err := volfile.Parse(text)
	if err != nil || old.Top().Name != "data" || old.String() != text {
		t.Fatalf("%v\n%s", err, text)
	}
	id, err := c.VolumeID(t.Context(), "data")
	info := g.MustCLI(t, "volume", "info", "data")
	if err != nil || !strings.Contains(info, id.String()) {
		t.Errorf("volume id %v, %v:\n%s", id, err, info)
	}
	if _, err := c.VolumeID(t.Context(), "none"); err == nil {
		t.Error("an id of no volume")
	}

	// Every change of any volume is told; what changed is to be compared.
	g.Set(t, "data", "network.ping-timeout", "17")
	wait(t, "FETCHSPEC", c.Changed())
	until := time.Now().Add(20 * time.Second)
	for {
		if text, err = c.Fetch(timeout(t, 20*time.Second)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "ping-timeout 17") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the change does not show:\n%s", text)
		}
		wait(t, "another FETCHSPEC", c.Changed())
	}
	now, err := volfile.Parse(text)
	if err != nil || !volfile.SameTopology(old, now) || len(volfile.Changes(old, now)) != 1 {
		t.Errorf("%v: %v", err, volfile.Changes(old, now))
	}

	_, err = client("nosuch", "").Fetch(timeout(t, 20*time.Second))
	var r *Refusal
	if !errors.As(err, &r) || r.Errno != syscall.ENOENT || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("no such volume: %v", err)
	}
	_, err = client(strings.Repeat("x", 300), "").Fetch(timeout(t, 20*time.Second))
	if !errors.As(err, &r) {
		t.Errorf("an id of 300 characters: %v", err)
	}
	id2 := "data." + g.IP + "." + strings.ReplaceAll(brick[1:], "/", "-")
	text, err = client(id2, brick).Fetch(timeout(t, 20*time.Second))
	if err != nil || !strings.Contains(text, "type storage/posix") {
		t.Errorf("volfile of the brick: %v\n%s", err, text)
	}
	if text != g.Volfile(t, "data", id2+".vol") {
		t.Error("the volfile of the brick is not the file")
	}
}
