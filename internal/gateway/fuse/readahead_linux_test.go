package fuse

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/testenv"
)

// sent is how many messages a mount has sent to its bricks.
func sent(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, ".meta/graphs/active/data-client-0/private"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nmsgs_sent = ")
	word, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatalf("no msgs_sent in %q", text)
	}
	return n
}

// TestReadAhead reads a file from front to back in small pieces: few messages, each
// of much.
func TestReadAhead(t *testing.T) {
	_, dir := served(t, cluster(t, shapes["brick"], nil))
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	setting := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if f, err := os.OpenFile(setting, os.O_WRONLY, 0); err != nil {
		testenv.Missing(t, "sysfs cannot be written: %v", err)
	} else {
		f.Close()
	}
	const size = 16 << 20
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	before := sent(t, dir)
	var got bytes.Buffer
	if _, err := io.CopyBuffer(&got, struct{ io.Reader }{f}, make([]byte, 4096)); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("read %d bytes: %v", got.Len(), err)
	}
	// 128 with the kernel's own default.
	if n := sent(t, dir) - before; n > 48 {
		t.Errorf("reading %d MiB took %d messages", size>>20, n)
	}
}
