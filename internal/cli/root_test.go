package cli

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/manage"
)

func TestExitCodes(t *testing.T) {
	c, err := manage.Up(context.Background(), manage.UpOptions{Dir: t.TempDir(), Listen: "127.0.0.1", Port: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	url := c.URL()
	for _, tc := range []struct {
		args string
		want int
	}{
		{"--version", exitOK},
		{"help", exitOK},
		{"ls " + url, exitOK},
		{"--json df " + url, exitOK},
		{"cat " + url + "/none", exitFailed},
		{"ls " + url + " " + url + "/none", exitFailed}, // some of it failed
		{"mkdir " + url + "/a/b", exitFailed},
		{"rm -f " + url + "/none", exitOK},
		{"nonsense", exitUsage},
		{"ls", exitUsage},
		{"ls --nonsense " + url, exitUsage},
		{"ls /etc", exitUsage},
		{"xattr get " + url, exitUsage},
		{"brick check", exitUsage},
		{"mount " + c.Addr + ":/data", exitUsage},
		{"mount data /mnt", exitUsage},
		{"mount gluster:///data /mnt", exitUsage},
		{"mount " + c.Addr + ":/data /mnt -o nonsense", exitUsage},
		{"mount " + c.Addr + ":/data /mnt --acl=on", exitUsage},
		{"umount", exitUsage},
		{"umount /none", exitFailed},
		{"umount /proc", exitFailed}, // no volume
		{"brick check /none", exitFailed},
		{"ls gluster://127.0.0.1:1/data", exitUnreachable},
		{"ls " + strings.TrimSuffix(url, "/data") + "/wrong", exitUnreachable},
	} {
		var out, errOut bytes.Buffer
		if got := Run(context.Background(), strings.Fields(tc.args), strings.NewReader(""), &out, &errOut); got != tc.want {
			t.Errorf("wythe %s: exit code %d, want %d\n%s%s", tc.args, got, tc.want, &out, &errOut)
		}
		if tc.want != exitOK && !strings.HasPrefix(errOut.String(), "wythe: ") {
			t.Errorf("wythe %s says %q", tc.args, &errOut)
		}
	}
}

func TestModeString(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o644:                                 "-rw-r--r--",
		fs.ModeDir | 0o755:                    "drwxr-xr-x",
		fs.ModeDir | fs.ModeSticky | 0o777:    "drwxrwxrwt",
		fs.ModeSymlink | 0o777:                "lrwxrwxrwx",
		fs.ModeSetuid | fs.ModeSetgid | 0o755: "-rwsr-sr-x",
		fs.ModeSetuid | fs.ModeSticky | 0o600: "-rwS-----T",
		fs.ModeNamedPipe | 0o600:              "prw-------",
		fs.ModeSocket | 0o700:                 "srwx------",
		fs.ModeDevice | 0o660:                 "brw-rw----",
		fs.ModeDevice | fs.ModeCharDevice:     "c---------",
	} {
		if got := modeString(mode); got != want {
			t.Errorf("%v: %s, want %s", mode, got, want)
		}
	}
}

func TestLocalTotals(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"/a": "1234", "/d/b": "56"} {
		if err := os.MkdirAll(dir+"/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if files, bytes := localTotals(t.Context(), dir); files != 2 || bytes != 6 {
		t.Errorf("%d files, %d bytes", files, bytes)
	}
}
