package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a terminal of 100 columns.
func terminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// A bar on a terminal, and it ends at its end; nothing elsewhere.
func TestMeterOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	screen, tty := terminal(t)
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(screen) // ends with EIO when the other end is closed
		shown <- string(text)
	}()
	m := newMeter(tty, "copying", true)
	m.plan(2, 4096)
	m.Files = 2
	m.add(1024)
	m.add(3072)
	m.finish()
	if m := newMeter(tty, "unwanted", false); m.bar != nil {
		t.Error("a bar where none is wanted")
	}
	tty.Close()
	text := <-shown
	for _, want := range []string{"copying", "2/2 files", "4.0 KiB / 4.0 KiB", "100 %"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the screen:\n%q", want, text)
		}
	}

	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if m := newMeter(null, "copying", true); m.bar != nil {
		t.Error("/dev/null is taken for a terminal")
	}
}
