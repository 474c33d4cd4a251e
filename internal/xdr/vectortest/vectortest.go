// Package vectortest loads golden messages from text files, for tests.
//
// A vector file holds one message as hexadecimal digits. On each line a '#'
// begins a comment; white space is ignored. The first comment of the file is
// the vector's title. The record mark of the stream is not part of a message.
// The file name is NN-name-KIND.hex, where NN keeps the order of a
// conversation and KIND is request, reply or callback.
package vectortest

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Vector is one golden message.
type Vector struct {
	Name  string // file name without ".hex", e.g. "12-lookup-request"
	Kind  string // "request", "reply" or "callback", from the name
	Title string // the file's first comment
	Data  []byte // the message, RPC header included, record mark excluded
}

// Parse decodes the text of one vector file.
func Parse(text string) (title string, data []byte, err error) {
	var digits strings.Builder
	for n, line := range strings.Split(text, "\n") {
		code, comment, commented := strings.Cut(line, "#")
		if commented && title == "" {
			title = strings.TrimSpace(comment)
		}
		for _, word := range strings.Fields(code) {
			if strings.Trim(word, "0123456789abcdefABCDEF") != "" {
				return "", nil, fmt.Errorf("line %d: %q is not hexadecimal", n+1, word)
			}
			digits.WriteString(word)
		}
	}
	data, err = hex.DecodeString(digits.String())
	return title, data, err
}

// Read loads one vector file and fails the test if that is impossible.
func Read(t testing.TB, path string) Vector {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	title, data, err := Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".hex")
	return Vector{Name: name, Kind: name[strings.LastIndexByte(name, '-')+1:], Title: title, Data: data}
}

// Load reads all vector files of a directory in the order of their names. A
// directory without any fails the test.
func Load(t testing.TB, dir string) []Vector {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no vectors in %s", dir)
	}
	vectors := make([]Vector, 0, len(paths))
	for _, path := range paths {
		vectors = append(vectors, Read(t, path))
	}
	return vectors
}

// Diff says where two messages differ, in words and offsets that fit a test's
// output; "" if they are equal.
func Diff(got, want []byte) string {
	n := min(len(got), len(want))
	for i := range n {
		if got[i] != want[i] {
			from := i &^ 3
			return fmt.Sprintf("lengths %d and %d, first difference at byte %d: got %x, want %x",
				len(got), len(want), i, got[from:min(from+16, len(got))], want[from:min(from+16, len(want))])
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %d bytes, want %d; the first %d are equal", len(got), len(want), n)
	}
	return ""
}
