package manage

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/brick"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/brickside"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
)

// A brick that ends by itself ends the cluster only with the last copy of data.
func TestBrickEndsByItself(t *testing.T) {
	for _, tt := range []struct {
		shape Shape
		fail  []int // bricks, in this order
		ends  int   // with which of them the cluster ends; -1 for none
	}{
		{Shape{1, 1, 0}, []int{0}, 0},
		{Shape{2, 2, 0}, []int{1, 2}, -1},
		{Shape{2, 2, 0}, []int{1, 2, 3}, 2},
		{Shape{1, 3, 1}, []int{0, 1}, 1}, // the arbiter that is left has no data
	} {
		t.Run(fmt.Sprint(tt.shape, tt.fail), func(t *testing.T) {
			var mu sync.Mutex
			fail := map[int]func(){}
			c, err := up(t, UpOptions{Dir: t.TempDir(), Shape: tt.shape, EditBrick: func(i int, o *brick.Options) {
				o.Registry = brickside.Registry().With(xlator.Type{Name: "features/barrier", MinChildren: 1, MaxChildren: 1,
					Options: []xlator.Option{{Key: "barrier"}, {Key: "barrier-timeout"}},
					New: func(cfg xlator.Config) (fop.Handler, error) {
						mu.Lock()
						defer mu.Unlock()
						fail[i] = func() { cfg.Notify(fop.Event{Kind: fop.EventChildDown, From: cfg.Name, Err: syscall.EIO}) }
						return cfg.Children[0], nil
					}})
			}})
			if err != nil {
				t.Fatal(err)
			}
			for n, i := range tt.fail {
				mu.Lock()
				f := fail[i]
				mu.Unlock()
				f()
				testenv.Wait(t, 10*time.Second, "end of the brick", func() bool { return !c.BrickRuns(i) })
				if n == tt.ends {
					select {
					case err := <-c.Failed():
						if !errors.Is(err, syscall.EIO) {
							t.Errorf("the cluster ended with %v", err)
						}
					case <-time.After(10 * time.Second):
						t.Error("the cluster goes on without data")
					}
					return
				}
				select {
				case err := <-c.Failed():
					t.Fatalf("after brick %d the cluster ended: %v", i, err)
				default:
				}
			}
			// What ended can be started again.
			if err := c.StartBrick(tt.fail[0]); err != nil || !c.BrickRuns(tt.fail[0]) {
				t.Error(err)
			}
		})
	}
}

// A gate forgets connections that have ended, and ends the others when it shuts.
func TestGate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: l}
	defer g.Close()
	pair := func() (near, far net.Conn) {
		t.Helper()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if far, err = g.Accept(); err != nil {
			t.Fatal(err)
		}
		return near, far
	}
	kept, keptFar := pair()
	defer kept.Close()
	defer keptFar.Close()
	for range 200 {
		near, far := pair()
		near.Close()
		far.Close()
	}
	if n := len(g.conns); n > 40 {
		t.Errorf("%d connections are remembered, one is open", n)
	}
	g.shut()
	for _, c := range []net.Conn{kept, keptFar} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection through the shut gate: %v", err)
		}
	}
	go g.Accept() // lets nobody in; ends with the listener
	late, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("somebody came in")
	}
}
