package posix

import (
	"flag"
	"strings"
	"testing"

	"github.com/wythefs/wythe/internal/testenv"
)

var skipFlag = flag.String("skip", "", "chapters, or parts of them as chapter/part, that TestMount leaves out, by commas")

var dirFlag = flag.String("dir", "", "a directory of the file system that TestMount checks")

// TestMount checks any file system: go test ./test/posix -run TestMount -args -dir /mnt/x
func TestMount(t *testing.T) {
	if *dirFlag == "" {
		return // nothing asked for
	}
	t.Logf("%d checks", Run(t, *dirFlag, Options{Skip: strings.Split(*skipFlag, ",")}))
}

// The suite asks for what the kernel's own file systems do.
func TestLocal(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir := testenv.LoopFS(t, kind, 512)
			n := Run(t, dir, Options{})
			t.Logf("%d checks", n)
			if n < 5000 && !t.Failed() {
				t.Errorf("%d checks were made, want more than 5000", n)
			}
		})
	}
}
