package where

import (
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		c     Copy
		state string
		words []string
	}{
		{Copy{}, "down", nil},
		{Copy{Up: true}, "absent", nil},
		{Copy{Up: true, Error: "lookup: permission denied"}, "error", nil},
		{Copy{Up: true, Exists: true}, "clean", nil},
		{Copy{Up: true, Exists: true, Linkto: "v-client-1"}, "link file", nil},
		{Copy{Client: "v-client-1", Up: true, Exists: true, Pending: []Blame{{"v-client-0", "h:/b0", Marks{1, 0, 0}}, {"v-client-1", "h:/b1", Marks{0, 2, 3}}}},
			"marked", []string{"brick h:/b0 misses 1 data change", "it misses itself 2 metadata changes and 3 entry changes"}},
		{Copy{Up: true, Exists: true, Dirty: &Marks{Data: 1}}, "marked", []string{"1 data change begun here may not have been finished everywhere (dirty)"}},
	} {
		if got := tt.c.State(); got != tt.state {
			t.Errorf("%+v: %q, want %q", tt.c, got, tt.state)
		}
		if got := tt.c.Words(); !slices.Equal(got, tt.words) {
			t.Errorf("%+v: %q, want %q", tt.c, got, tt.words)
		}
	}
}

func TestParseMarks(t *testing.T) {
	m, ok := parseMarks([]byte{0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0})
	if !ok || m != (Marks{1, 256, 1 << 24}) {
		t.Errorf("%+v, %v", m, ok)
	}
	for _, b := range [][]byte{nil, make([]byte, 11)} {
		if _, ok := parseMarks(b); ok {
			t.Errorf("%x was taken", b)
		}
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseMarks(b); ok && m.any() && m.words() == "" {
			t.Errorf("%x has no words", b)
		}
	})
}
