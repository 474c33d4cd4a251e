package gfapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strings"
	"time"

	"github.com/wythefs/wythe/gfapi"
)

// The examples run against a volume in memory; a program calls gfapi.Mount.
func mounted() *gfapi.Volume { return gfapi.InMemory() }

func Example() {
	vol := mounted() // vol, err := gfapi.Mount(ctx, "10.7.1.99", "data")
	defer vol.Unmount()

	if err := vol.MkdirAll("north/wall", 0o755); err != nil {
		log.Fatal(err)
	}
	f, err := vol.Create("north/wall/motto.txt")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := f.WriteString("Winter is coming."); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	data, err := vol.ReadFile("north/wall/motto.txt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	_, err = vol.Stat("south")
	fmt.Println(err, errors.Is(err, fs.ErrNotExist))
	// Output:
	// Winter is coming.
	// stat south: no such file or directory true
}

// Mounting a volume of two servers, either of which may be down.
func ExampleMount() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	vol, err := gfapi.Mount(ctx, "server1,server2", "data",
		gfapi.WithCredentials(gfapi.Cred{UID: 1000, GID: 100}),
		gfapi.WithXlatorOption("*-client-*", "ping-timeout", "10"))
	if err != nil {
		log.Fatal(err)
	}
	defer vol.Unmount()
}

func ExampleMountURL() {
	home, err := gfapi.MountURL(context.Background(), "gluster://10.7.1.99:24007/data/home/arya")
	if err != nil {
		log.Fatal(err)
	}
	defer home.Unmount()
	fmt.Println(home.Name()) // home/arya
}

// Any code that takes an fs.FS takes a volume.
func ExampleVolume_FS() {
	vol := mounted()
	defer vol.Unmount()
	vol.MkdirAll("a/b", 0o755)
	vol.WriteFile("a/b/c.txt", []byte("c"), 0o644)
	fs.WalkDir(vol.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		fmt.Println(path)
		return err
	})
	// Output:
	// .
	// a
	// a/b
	// a/b/c.txt
}

// A view whose operations end with a context.
func ExampleVolume_WithContext() {
	vol := mounted()
	defer vol.Unmount()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := vol.WithContext(ctx).ReadFile("anything")
	fmt.Println(err)
	// Output: open anything: context canceled
}

func ExampleVolume_As() {
	vol := mounted()
	defer vol.Unmount()
	vol.As(gfapi.Cred{UID: 1000, GID: 100}).WriteFile("hers", []byte("x"), 0o600)
	fi, _ := vol.Stat("hers")
	st := fi.Sys().(*gfapi.Stat)
	fmt.Println(st.UID, st.GID)
	// Output: 1000 100
}

// io.Copy keeps several requests under way in both directions.
func ExampleFile_ReadFrom() {
	vol := mounted()
	defer vol.Unmount()
	f, err := vol.Create("copy")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	n, err := io.Copy(f, strings.NewReader("a stream of any length"))
	fmt.Println(n, err)
	// Output: 22 <nil>
}

func ExampleFile_Lock() {
	vol := mounted()
	defer vol.Unmount()
	vol.WriteFile("ledger", nil, 0o644)
	f, _ := vol.OpenFile("ledger", os.O_RDWR, 0)
	defer f.Close()
	g, _ := vol.OpenFile("ledger", os.O_RDWR, 0)
	defer g.Close()
	fmt.Println(f.Lock(gfapi.WriteLock, 0, 100))
	fmt.Println(g.TryLock(gfapi.ReadLock, 50, 1))
	fmt.Println(f.Unlock(0, 0))
	fmt.Println(g.TryLock(gfapi.ReadLock, 50, 1))
	// Output:
	// <nil>
	// lock ledger: resource temporarily unavailable
	// <nil>
	// <nil>
}

func ExampleWithRoundTrips() {
	vol, err := gfapi.Mount(context.Background(), "10.7.1.99", "data",
		gfapi.WithRoundTrips(func(r gfapi.RoundTrip) { log.Println(r.Name) }))
	if err != nil {
		log.Fatal(err)
	}
	defer vol.Unmount()
}
