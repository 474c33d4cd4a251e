package server

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/client"
	"github.com/wythefs/wythe/internal/xlator/conformance"
)

// TestConformance runs the common suite through our own client and a socket.
func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return overWire(t, newFixture(t, nil)) }, conformance.Options{Locks: true, Devices: true})
}

// overWire connects our client to a server.
func overWire(t testing.TB, f *fixture) fop.Handler {
	host, port, _ := net.SplitHostPort(f.addr)
	if _, err := strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	var once sync.Once
	h, err := client.New(xlator.Config{
		Name: "client", Log: quiet,
		Options: xlator.Options{"remote-host": host, "remote-port": port, "remote-subvolume": brickName},
		Env:     &xlator.Env{ProcessUUID: fop.NewGFID().String(), ProcessName: "test", Hostname: "test"},
		Notify: func(ev fop.Event) {
			if ev.Kind == fop.EventChildUp {
				once.Do(func() { close(up) })
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.(xlator.Runner).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		h.(xlator.Closer).Close()
	})
	<-up
	return h
}

// TestConformanceLocal runs it without a socket.
func TestConformanceLocal(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler {
		f := newFixture(t, nil)
		h, ok := f.Local(brickName, "test")
		if !ok {
			t.Fatal("no such brick")
		}
		t.Cleanup(func() { h.Close() })
		return h
	}, conformance.Options{Locks: true, Devices: true})
}
