package capi_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/testenv"
)

// undelayed are options of volumes whose clients ask bricks at once: what is put
// off no lease and no lock of others holds up.
var undelayed = []string{"performance.write-behind", "off", "performance.open-behind", "off", "performance.quick-read", "off",
	"performance.io-cache", "off", "performance.read-ahead", "off"}

// extras runs testdata/extras.c on both kinds of volume.
func extras(t *testing.T, what string, options ...string) {
	prog := compile(t, "extras", "-lacl")
	both(t, func(t *testing.T, v *volume) {
		v.run(t, with(t, prog, v.IP, "24007", v.name, what)...)
	}, options...)
}

func TestLeases(t *testing.T) { extras(t, "leases", append(undelayed, "features.leases", "on")...) }

func TestMandatoryLocks(t *testing.T) {
	extras(t, "mandatory", append(undelayed, "locks.mandatory-locking", "optimal")...)
}

func TestACLs(t *testing.T) { extras(t, "acls") }

// Statedumps, as the program asks for them and as GlusterFS's command does.
func TestStatedump(t *testing.T) {
	prog := compile(t, "extras", "-lacl")
	both(t, func(t *testing.T, v *volume) {
		dir := filepath.Join(v.Dir, "dumps")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			words := with(t, prog, v.IP, "24007", v.name, "dump", dir)
			_, err := v.Run(t.Context(), words[0], words[1:]...)
			ended <- err
		}()
		var pid []byte
		testenv.Wait(t, time.Minute, "the program's dump", func() bool {
			if len(ended) > 0 {
				t.Fatal(<-ended)
			}
			pid, _ = os.ReadFile(dir + "/pid")
			return len(pid) > 0
		})
		dumps := func() []string { names, _ := filepath.Glob(dir + "/glusterdump.*.dump.*"); return names }
		first := dumps()
		if len(first) != 1 {
			t.Fatalf("dumps %q, want one", first)
		}
		dump, err := os.ReadFile(first[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"DUMP-START-TIME: ", "[mallinfo]", "[gfapi]", "open_files=1", "data-client-0", "DUMP-END-TIME: "} {
			if !strings.Contains(string(dump), want) {
				t.Errorf("the statedump has no %q:\n%s", want, dump)
			}
		}
		if v.real {
			testenv.Wait(t, 10*time.Second, "the next second, by which dumps are named", func() bool { return !strings.HasSuffix(first[0], fmt.Sprint(".", time.Now().Unix())) })
			v.g.MustCLI(t, "volume", "statedump", v.name, "client", v.IP+":"+string(pid))
			testenv.Wait(t, 30*time.Second, "the dump that the server asked for", func() bool { return len(dumps()) == 2 })
		}
		if err := os.WriteFile(dir+"/done", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The options of a volume change, and with them its graph, while a program has
// files, directories and locks.
func TestGraphSwitch(t *testing.T) {
	prog := compile(t, "extras", "-lacl")
	v := theirs(t)
	flag := filepath.Join(v.Dir, "flag")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		words := with(t, prog, v.IP, "24007", v.name, "switch", flag)
		_, err := v.Run(ctx, words[0], words[1:]...)
		ended <- err
	}()
	for step := range 3 {
		testenv.Wait(t, time.Minute, fmt.Sprint("step ", step), func() bool {
			select {
			case err := <-ended:
				t.Fatalf("it ended early: %v", err)
			default:
			}
			_, err := os.Stat(fmt.Sprint(flag, step))
			return err == nil
		})
		if step < 2 {
			v.g.Set(t, v.name, "performance.write-behind", []string{"off", "on"}[step])
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
