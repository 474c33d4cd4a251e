package rpc

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/xdr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// The program of the tests.
const (
	testProg = 4711
	testVers = 3

	procNull  = 0
	procEcho  = 1 // results are the arguments
	procRead  = 2 // u32 n: n bytes of payload behind a READ-like header
	procWait  = 3 // answered when the test says so (exempt)
	procCount = 4 // u32 length of arguments and payload
	procHold  = 5 // answered when the test says so
)

type testServer struct {
	*Server
	addr net.Addr
	wait chan *Call
	hold chan *Call
}

func echo(_ context.Context, call *Call) { call.Reply(Raw(call.Args)) }

// readHeader is what stands before the payload in replies to procRead: as in
// GlusterFS a prefix that ends with the size of what follows it.
func readHeader(extra int) []byte {
	b := xdr.AppendUint64(nil, 0x1122334455667788)
	return append(xdr.AppendUint32(b, uint32(extra)), make([]byte, extra)...)
}

const readPrefix = 12

func readSplit(prefix []byte) int { return readPrefix + int(be32(prefix[8:])) }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

var testPattern = pattern(8 << 20)

func newTestServer(t testing.TB, setup func(*Server), network ...string) *testServer {
	t.Helper()
	ts := &testServer{wait: make(chan *Call, 1000), hold: make(chan *Call, 1000)}
	ts.Server = &Server{Log: quiet, Programs: []*Program{{
		Name: "test", Number: testProg, Version: testVers,
		Procs: []Proc{
			procNull: {Handle: func(_ context.Context, call *Call) { call.Reply(nil) }},
			procEcho: {Handle: echo},
			procRead: {Handle: func(_ context.Context, call *Call) {
				d := xdr.NewDecoder(call.Args)
				n, extra := d.Uint32(), d.Uint32()
				if d.Err() != nil || int(n) > len(testPattern) || extra > 1<<20 {
					call.Fail(GarbageArgs)
					return
				}
				call.Reply(Raw(readHeader(int(extra))), testPattern[:n])
			}},
			procWait:  {Handle: func(_ context.Context, call *Call) { ts.wait <- call }, Exempt: true},
			procCount: {Handle: func(_ context.Context, call *Call) { call.Reply(Raw(xdr.AppendUint32(nil, uint32(len(call.Args))))) }},
			procHold:  {Handle: func(_ context.Context, call *Call) { ts.hold <- call }},
			9:         {},
		},
	}}}
	if setup != nil {
		setup(ts.Server)
	}
	var ln net.Listener
	var err error
	if len(network) > 0 && network[0] == "unix" {
		ln, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	} else {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = ln.Addr()
	served := make(chan error, 1)
	go func() { served <- ts.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ts.Close()
		if err := <-served; err != ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
	return ts
}

func (ts *testServer) dial(t testing.TB, opts DialOptions) *Client {
	t.Helper()
	opts.Network, opts.Address = ts.addr.Network(), ts.addr.String()
	opts.Ports = PortEphemeral
	if opts.Log == nil {
		opts.Log = quiet
	}
	c, err := Dial(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func request(proc uint32, args []byte) *Request {
	return &Request{Prog: testProg, Vers: testVers, Proc: proc, Args: Raw(args)}
}

func readRequest(n, extra int, into []byte) *Request {
	r := request(procRead, xdr.AppendUint32(xdr.AppendUint32(nil, uint32(n)), uint32(extra)))
	r.ReplyPrefix, r.ReplySplit, r.Into = readPrefix, readSplit, into
	return r
}

func mustEcho(t testing.TB, c *Client, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	reply, err := c.Call(ctx, request(procEcho, []byte(text)))
	if err != nil {
		t.Fatalf("echo: %v", err)
	}
	if string(reply.Body) != text {
		t.Fatalf("echo of %q returned %q", text, reply.Body)
	}
	reply.Release()
}

func TestCallsOverEveryTransport(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			ts := newTestServer(t, nil, network)
			c := ts.dial(t, DialOptions{})
			mustEcho(t, c, "Winter is coming.   ")
			mustEcho(t, c, "")
			testPayloads(t, c)
		})
	}
}

// testPayloads moves payload of many sizes in both directions.
func testPayloads(t *testing.T, c *Client) {
	for _, n := range []int{0, 1, 5, 4095, 4096, 16 << 10, 16<<10 + 1, 100_000, 128 << 10, 300_000, 1 << 20, 3<<20 + 7} {
		for _, extra := range []int{0, 4, 36, 40_000} {
			want := pattern(n)
			for _, into := range [][]byte{nil, make([]byte, n), make([]byte, n+100), make([]byte, n/2)} {
				for i := range into {
					into[i] = 0xEE
				}
				reply, err := c.Call(t.Context(), readRequest(n, extra, into))
				if err != nil {
					t.Fatalf("n %d, extra %d, into %d: %v", n, extra, len(into), err)
				}
				if !bytes.Equal(reply.Payload, want) {
					t.Fatalf("n %d, extra %d, into %d: wrong payload of %d bytes", n, extra, len(into), len(reply.Payload))
				}
				if !bytes.Equal(reply.Body, readHeader(extra)) {
					t.Fatalf("n %d, extra %d, into %d: wrong body of %d bytes", n, extra, len(into), len(reply.Body))
				}
				if n > 0 && len(into) >= n && &reply.Payload[0] != &into[0] {
					t.Fatalf("n %d, extra %d: payload is not in Into", n, extra)
				}
				for i := n; i < len(into); i++ {
					if into[i] != 0xEE {
						t.Fatalf("n %d, extra %d: Into was written behind the payload", n, extra)
					}
				}
				reply.Release()
			}
			req := request(procCount, make([]byte, extra))
			req.Payload = want
			req.Payloads = [][]byte{want, nil, want}
			reply, err := c.Call(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if got := int(be32(reply.Body)); got != extra+3*n {
				t.Fatalf("server received %d bytes, want %d", got, extra+3*n)
			}
			reply.Release()
		}
	}
	payload := pattern(1<<20 + 3)
	reply, err := c.Call(t.Context(), &Request{Prog: testProg, Vers: testVers, Proc: procEcho, Payload: payload})
	if err != nil || !bytes.Equal(reply.Body, payload) {
		t.Fatalf("echo of a large payload: %d bytes, %v", len(reply.Body), err)
	}
	reply.Release()
}
