package mounter

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/volfile"
)

const twoBricks = `volume data-client-0
    type protocol/client
    option remote-host n1
end-volume

volume data-client-1
    type protocol/client
    option remote-host n2
end-volume

volume data-dht
    type cluster/distribute
    subvolumes data-client-0 data-client-1
end-volume

volume data
    type debug/io-stats
    subvolumes data-dht
end-volume
`

func TestEditVolfile(t *testing.T) {
	parse := func(s string) *volfile.File {
		f, err := volfile.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		name   string
		args   Arguments
		change func(string) string
		unused int
	}{
		{"nothing", Arguments{}, func(s string) string { return s }, 0},
		{"subdir", Arguments{Subdir: "/a"}, func(s string) string {
			return strings.ReplaceAll(s, "type protocol/client\n", "type protocol/client\n    option subdir-mount /a\n")
		}, 0},
		{"volume name", Arguments{VolumeName: "data-client-1"}, func(s string) string {
			_, rest, _ := strings.Cut(s, "\n\n")
			one, _, _ := strings.Cut(rest, "\n\n")
			return one + "\n"
		}, 0},
		{"worm", Arguments{Worm: true}, func(s string) string {
			return s + "\nvolume worm\n    type features/worm\n    option worm on\n    subvolumes data\nend-volume\n"
		}, 0},
		{"options", Arguments{Overrides: []volfile.Override{{Pattern: "*-dht", Key: "a", Value: "b"}, {Pattern: "debug/*", Key: "c", Value: "d"}, {Pattern: "*none*", Key: "e", Value: "f"}}},
			func(s string) string {
				s = strings.Replace(s, "cluster/distribute\n", "cluster/distribute\n    option a b\n", 1)
				return strings.Replace(s, "debug/io-stats\n", "debug/io-stats\n    option c d\n", 1)
			}, 1},
	} {
		f := parse(twoBricks)
		unused := 0
		if err := editVolfile(&c.args, f, func(volfile.Override) { unused++ }); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d := cmp.Diff(c.change(twoBricks), f.String()); d != "" || unused != c.unused {
			t.Errorf("%s: %d options fit nothing\n%s", c.name, unused, d)
		}
	}
	err := editVolfile(&Arguments{VolumeName: "none"}, parse(twoBricks), nil)
	if !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "its top is data") {
		t.Errorf("volume-name none: %v", err)
	}
}
