package interop

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// TestFio runs a real libgfapi program, fio, against the embedded cluster: it
// writes every block of its files at random with 16 requests in flight, each
// with a checksum and its place in it, and reads all of them back.
func TestFio(t *testing.T) {
	testenv.Need(t, "fio")
	s := ourBrick(t)
	requireEngine(t, s.node)
	for _, job := range []struct {
		name, engine string
		args         []string
	}{
		{"synchronous", "gfapi", []string{"--bs=4k", "--size=4m"}},
		{"16 in flight", "gfapi_async", []string{"--iodepth=16", "--bs=4k", "--size=8m"}},
		{"blocks of many sizes", "gfapi_async", []string{"--iodepth=4", "--bsrange=512-1m", "--size=64m"}},
		{"with fsync", "gfapi", []string{"--bs=64k", "--size=8m", "--fsync=16"}},
	} {
		t.Run(job.name, func(t *testing.T) {
			t.Parallel() // the real library takes ten seconds to end
			args := append([]string{
				"--name=" + strings.NewReplacer(" ", "-", ",", "").Replace(job.name),
				"--ioengine=" + job.engine, // before the options that it brings
				"--volume=" + s.volume, "--brick=" + s.node.IP,
				"--rw=randwrite", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
				"--randseed=7", "--output-format=json",
			}, job.args...)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			out, err := s.node.Run(ctx, "fio", args...)
			if err != nil {
				t.Fatal(err)
			}
			var report struct {
				Jobs []struct {
					Error       int
					Read, Write struct {
						IOBytes int64 `json:"io_bytes"`
					}
				}
			}
			if i := strings.Index(out, "{"); i > 0 {
				out = out[i:]
			}
			if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil {
				t.Fatalf("fio's report: %v\n%s", err, out)
			}
			if len(report.Jobs) != 1 {
				t.Fatalf("fio reports %d jobs:\n%s", len(report.Jobs), out)
			}
			j := report.Jobs[0]
			if j.Error != 0 || j.Write.IOBytes == 0 || j.Read.IOBytes < j.Write.IOBytes/2 {
				t.Errorf("error %d, %d bytes written, %d read back", j.Error, j.Write.IOBytes, j.Read.IOBytes)
			}
		})
	}
}

// requireEngine ends the test where fio lacks its gfapi engine, which some
// distributions have in a package of its own.
func requireEngine(t *testing.T, n *testenv.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := n.Run(ctx, "fio", "--enghelp")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "gfapi_async") {
		testenv.Missing(t, "fio has no gfapi engine")
	}
}
