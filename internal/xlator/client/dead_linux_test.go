package client

import (
	"context"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/xlator"
)

// A server whose machine vanishes: its packets and ours go nowhere, nobody sends
// a RST. With work under way the unacknowledged data tell, without it keepalives.
func TestVanishedServer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		idle    bool
		options []string
	}{
		{"call under way", false, []string{"transport.tcp-user-timeout", "1", "transport.socket.keepalive-time", "100"}},
		{"idle", true, []string{"transport.tcp-user-timeout", "0",
			"transport.socket.keepalive-time", "1", "transport.socket.keepalive-interval", "1", "transport.socket.keepalive-count", "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			here, there := testenv.Namespace(t), testenv.Namespace(t)
			joinNetworks(t, here, there)
			b := newBrickAt(t, func(network, _ string) (net.Listener, error) { return there.Listen(network, "10.99.0.2:0") })
			release := make(chan struct{})
			b.intercept(func(req fop.Request) (fop.Reply, error) {
				if req.Op() == fop.OpStat {
					<-release
				}
				return nil, errPass
			})
			mgmt := b.mgmt.Addr().String()
			c := startClient(t, &xlator.Env{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				addr = strings.Replace(addr, "brickhost", "10.99.0.2", 1)
				if strings.HasSuffix(addr, ":24007") {
					addr = mgmt
				}
				return here.DialContext(ctx, network, addr)
			}}, append(tt.options, "ping-timeout", "0", "remote-host", "brickhost", "remote-subvolume", "/brick")...)
			c.wait(fop.EventChildUp)
			t.Cleanup(func() { close(release) })
			var calls sync.WaitGroup
			start := time.Now()
			there.MustRun(t, "ip", "route", "add", "blackhole", "10.99.0.1/32")
			if !tt.idle {
				for range 10 {
					calls.Go(func() {
						if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN {
							t.Errorf("a call under way ended with %v", err)
						}
					})
				}
			}
			c.wait(fop.EventChildDown)
			calls.Wait()
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("noticed after %v", took)
			} else {
				t.Logf("noticed after %v", took)
			}
		})
	}
}

// joinNetworks connects two nodes by a wire: 10.99.0.1 and 10.99.0.2.
func joinNetworks(t *testing.T, a, b *testenv.Node) {
	t.Helper()
	a.MustRun(t, "ip", "link", "add", "w0", "type", "veth", "peer", "name", "w1")
	ip, err := testenv.Program("ip")
	if err != nil {
		t.Fatal(err)
	}
	// In the network of a, but where the processes of b have numbers.
	if err := a.Do(func() error {
		return exec.Command(ip, "link", "set", "w1", "netns", strconv.Itoa(b.Pid)).Run()
	}); err != nil {
		t.Fatalf("moving the end of a wire: %v", err)
	}
	a.MustRun(t, "ip", "addr", "add", "10.99.0.1/24", "dev", "w0")
	a.MustRun(t, "ip", "link", "set", "w0", "up")
	b.MustRun(t, "ip", "addr", "add", "10.99.0.2/24", "dev", "w1")
	b.MustRun(t, "ip", "link", "set", "w1", "up")
}

// A server that hangs: its kernel acknowledges all, but nobody answers. The ping
// tells, and not while anything comes.
func TestHangingServer(t *testing.T) {
	b := newBrick(t)
	relay := newRelay(t)
	c := startClient(t, &xlator.Env{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		addr = strings.Replace(addr, "brickhost", "127.0.0.1", 1)
		if strings.HasSuffix(addr, ":24007") {
			return new(net.Dialer).DialContext(ctx, network, b.mgmt.Addr().String())
		}
		return relay.dial(ctx, addr)
	}}, "ping-timeout", "2", "remote-host", "brickhost", "remote-subvolume", "/brick")
	c.wait(fop.EventChildUp)
	if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Fatal(err)
	}
	relay.freeze()
	start := time.Now()
	if _, err := c.Do(bg, &fop.Stat{GFID: fop.RootGFID}); fop.Errno(err) != syscall.ENOTCONN {
		t.Errorf("the call ended with %v", err)
	}
	if took := time.Since(start); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("noticed after %v", took)
	}
	c.wait(fop.EventChildDown)
}

// relay forwards connections until it is frozen. Then it reads on and forwards
// nothing.
type relay struct {
	t      testing.TB
	frozen chan struct{}
	freeze func()
	wg     sync.WaitGroup
	stop   context.Context
}

func newRelay(t testing.TB) *relay {
	ctx, cancel := context.WithCancel(context.Background())
	r := &relay{t: t, frozen: make(chan struct{}), stop: ctx}
	r.freeze = sync.OnceFunc(func() { close(r.frozen) })
	t.Cleanup(func() {
		cancel()
		r.wg.Wait()
	})
	return r
}

// dial connects to addr through a socket of the relay.
func (r *relay) dial(ctx context.Context, addr string) (net.Conn, error) {
	far, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	inside, err := l.Accept()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(r.stop, func() { far.Close(); inside.Close() })
	forward := func(to, from net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			select {
			case <-r.frozen:
			default:
				if _, e := to.Write(buf[:n]); e != nil || err == io.EOF {
					to.Close()
				}
			}
			if err != nil {
				return
			}
		}
	}
	r.wg.Go(func() { forward(far, inside) })
	r.wg.Go(func() { forward(inside, far) })
	return near, nil
}

// A volfile's values rule, and ours stand in where it has none.
func TestTimeouts(t *testing.T) {
	base := xlator.Options{"remote-host": "h", "remote-subvolume": "/b"}
	with := func(more ...string) xlator.Options {
		o := xlator.Options{}
		for k, v := range base {
			o[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return o
	}
	for _, tt := range []struct {
		options                    xlator.Options
		ping, user, idle, interval time.Duration
		count                      int
	}{
		{with(), 10 * time.Second, 10 * time.Second, 0, 0, 0}, // zeros: those of package rpc
		{with("ping-timeout", "42", "transport.tcp-user-timeout", "0", "transport.socket.keepalive-time", "20",
			"transport.socket.keepalive-interval", "2", "transport.socket.keepalive-count", "9"),
			42 * time.Second, 0, 20 * time.Second, 2 * time.Second, 9},
		{with("ping-timeout", "0", "transport.tcp-user-timeout", "3"), 0, 3 * time.Second, 0, 0, 0},
	} {
		s, err := parse(tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if s.pingTimeout != tt.ping || s.userTimeout != tt.user || s.keepIdle != tt.idle || s.keepInterval != tt.interval || s.keepCount != tt.count {
			t.Errorf("%v: %+v", tt.options, s)
		}
	}
}
