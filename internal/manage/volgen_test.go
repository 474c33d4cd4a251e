package manage

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/graph/clientside"
)

// Clients of ours give a dead server up sooner than glusterd tells them to,
// unless the volume says otherwise.
func TestTimeoutsInVolfiles(t *testing.T) {
	v, err := NewShapedVolume("v", Shape{2, 2, 0}, Brick{Path: "/a"}, Brick{Path: "/b"}, Brick{Path: "/c"}, Brick{Path: "/d"})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"ping-timeout", "transport.tcp-user-timeout", "transport.socket.keepalive-time", "transport.socket.keepalive-interval", "transport.socket.keepalive-count"}
	for _, tt := range []struct {
		options map[string]string
		want    []string
	}{
		{nil, []string{"10", "10", "5", "2", "3"}},
		{glusterdTimeouts, []string{"42", "0", "20", "2", "9"}},
		{map[string]string{"network.ping-timeout": "3"}, []string{"3", "10", "5", "2", "3"}},
	} {
		v.Options = tt.options
		f := ClientVolfile(v, "h", false, nil)
		for i := range v.Bricks {
			c := f.Volume(v.ClientName(i))
			for k, key := range keys {
				if got, _ := c.Get(key); got != tt.want[k] {
					t.Errorf("%v: %s of %s is %s, want %s", tt.options, key, c.Name, got, tt.want[k])
				}
			}
		}
	}
	for _, o := range []map[string]string{{"": "x"}, {"no.such": "x"}, {"network.ping-timeout": ""}, {"network.ping-timeout": "1 2"}, {"network.ping-timeout": "1\n2"},
		{"performance.write-behind": "perhaps"}} {
		v.Options = o
		if err := v.Check(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", o, err)
		}
	}
	for _, o := range []map[string]string{{"performance.md-cache-timeout": "long"}, {"performance.rda-low-wmark": "x"}} {
		if err := CheckValues(clientside.Registry(), o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", o, err)
		}
	}
}

func TestShape(t *testing.T) {
	for _, tt := range []struct {
		s    Shape
		text string
	}{
		{Shape{1, 1, 0}, "1"}, {Shape{4, 1, 0}, "4"}, {Shape{2, 2, 0}, "2 x 2 = 4"}, {Shape{1, 3, 0}, "1 x 3 = 3"}, {Shape{2, 3, 1}, "2 x (2 + 1) = 6"},
	} {
		if err := tt.s.Check(); err != nil || tt.s.String() != tt.text {
			t.Errorf("%+v: %q, %v", tt.s, tt.s.String(), err)
		}
	}
	for _, s := range []Shape{{}, {1, 0, 0}, {0, 1, 0}, {1, 2, 1}, {1, 3, 2}, {1, 3, -1}, {300, 1, 0}, {1, 17, 0}, {128, 3, 0}, {1 << 62, 4, 0}} {
		if err := s.Check(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	v := &Volume{Name: "v", Replica: 3, Arbiter: 1, Bricks: make([]Brick, 6)}
	for i, want := range []bool{false, false, true, false, false, true} {
		if set, place := v.Set(i); v.IsArbiter(i) != want || set != i/3 || place != i%3 {
			t.Errorf("brick %d: arbiter %v, set %d, place %d", i, v.IsArbiter(i), set, place)
		}
	}
	if v.SetName(1) != "v-replicate-1" || (&Volume{Name: "v"}).SetName(1) != "v-client-1" {
		t.Error("names of sets")
	}
}
