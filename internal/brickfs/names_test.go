package brickfs

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" || strings.HasPrefix(line, "#") {
			continue
		}
		seen[f[0]]++
		switch f[0] {
		case "backpointer":
			parent, name, _ := strings.Cut(f[1], "/")
			g, err := fop.ParseGFID(parent)
			if err != nil {
				t.Fatal(err)
			}
			key, value := BackPointer(g, name)
			if key != "trusted.gfid2path."+f[2] || value != f[1] {
				t.Errorf("BackPointer(%s) = %s, %s", f[1], key, value)
			}
			if p, n, ok := ParseBackPointer(key, []byte(value)); !ok || p != g || n != name {
				t.Errorf("ParseBackPointer(%s, %s) = %v, %v, %v", key, value, p, n, ok)
			}
		case "directory":
			g, err := fop.ParseGFID(f[1])
			if err != nil {
				t.Fatal(err)
			}
			parent, name, ok := ParseDirTarget(f[3])
			if Handle(g) != f[2] || !ok || DirTarget(parent, name) != f[3] || strconv.FormatUint(g.Ino(), 10) != f[4] {
				t.Errorf("%s: handle %s, target of %v %s, ino %d", f[1], Handle(g), parent, name, g.Ino())
			}
		case "ino":
			if g, err := fop.ParseGFID(f[1]); err != nil || strconv.FormatUint(g.Ino(), 10) != f[2] {
				t.Errorf("%s: ino %d, %v", f[1], g.Ino(), err)
			}
		case "mdata":
			b, err := hex.DecodeString(f[1])
			if err != nil {
				t.Fatal(err)
			}
			m, ok := fop.ParseMdata(b)
			got := fmt.Sprintf("%d.%09d %d.%09d %d.%09d", m.Ctime.Sec, m.Ctime.Nsec, m.Mtime.Sec, m.Mtime.Nsec, m.Atime.Sec, m.Atime.Nsec)
			if !ok || got != strings.Join(f[2:], " ") || hex.EncodeToString(fop.AppendMdata(nil, m)) != f[1] {
				t.Errorf("mdata %s = %s", f[1], got)
			}
		default:
			t.Errorf("unknown vector %q", line)
		}
	}
	for _, kind := range []string{"backpointer", "directory", "ino", "mdata"} {
		if seen[kind] == 0 {
			t.Errorf("no vectors of kind %s", kind)
		}
	}
}

func TestParseDirTargetRefuses(t *testing.T) {
	for _, s := range []string{
		"", RootTarget, "../../00/00/00000000-0000-0000-0000-000000000001/", "../../00/00/00000000-0000-0000-0000-000000000001",
		"../../00/01/00000000-0000-0000-0000-000000000001/x", "../../00/00/00000000-0000-0000-0000-000000000001/a/b",
		"../../00/00/00000000-0000-0000-0000-000000000001/..", "../..//00/00000000-0000-0000-0000-000000000001/x",
		"../../00/00/00000000-0000-0000-0000-00000000000G/x", "/etc/passwd",
		"../../AA/00/AA000000-0000-0000-0000-000000000001/x",
	} {
		if _, _, ok := ParseDirTarget(s); ok {
			t.Errorf("%q was taken for the handle of a directory", s)
		}
	}
}

func FuzzParseDirTarget(f *testing.F) {
	f.Add("../../00/00/00000000-0000-0000-0000-000000000001/dir1")
	f.Fuzz(func(t *testing.T, s string) {
		if parent, name, ok := ParseDirTarget(s); ok && DirTarget(parent, name) != s {
			t.Fatalf("%q became %q", s, DirTarget(parent, name))
		}
	})
}

func FuzzParseBackPointer(f *testing.F) {
	f.Add("trusted.gfid2path.4600f350aa2f7f8c", []byte("127e55bc-decd-48c0-9d90-41cd63453855/file1"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if parent, name, ok := ParseBackPointer(key, value); ok {
			if k, v := BackPointer(parent, name); !strings.EqualFold(v, string(value)) || (v == string(value) && k != key) {
				t.Fatalf("%q %q became %q %q", key, value, k, v)
			}
		}
	})
}

func FuzzSideFile(f *testing.F) {
	f.Add(sideFile{{"trusted.gfid", []byte("0123456789abcdef")}, {"owner", nil}}.encode(12345))
	f.Fuzz(func(t *testing.T, b []byte) {
		birth, s, err := decodeSide(b)
		if err == nil && string(s.encode(birth)) != string(b) {
			t.Fatalf("%x became %x", b, s.encode(birth))
		}
	})
}
