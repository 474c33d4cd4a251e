package vectortest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "02-b-reply.hex"), []byte("# second\n00 01 # one\n02\n"), 0o644)
	os.WriteFile(filepath.Join(dir, "01-a-request.hex"), []byte("# first\nff # not a title\n"), 0o644)
	vs := Load(t, dir)
	if len(vs) != 2 || vs[0].Name != "01-a-request" || vs[0].Kind != "request" || vs[0].Title != "first" ||
		vs[1].Kind != "reply" || string(vs[1].Data) != "\x00\x01\x02" {
		t.Errorf("got %+v", vs)
	}
}

func TestParseRefusesWhatIsNotHex(t *testing.T) {
	for _, text := range []string{"0", "0g", "xx"} {
		if _, data, err := Parse(text); err == nil {
			t.Errorf("%q was accepted as %x", text, data)
		}
	}
}

func TestDiff(t *testing.T) {
	if Diff([]byte("abc"), []byte("abc")) != "" || Diff([]byte("abc"), []byte("abd")) == "" ||
		Diff([]byte("abc"), []byte("ab")) == "" || Diff(nil, []byte("a")) == "" {
		t.Error("Diff is wrong about equality")
	}
}
