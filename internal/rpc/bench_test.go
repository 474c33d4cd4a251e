//go:build unix

package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/xdr"
)

// A caller is what the benchmarks compare: the Client, and the usual design
// of a reader goroutine that hands replies to channels.
type caller interface {
	call(req *Request) error
}

type leaderFollower struct{ c *Client }

func (l leaderFollower) call(req *Request) error {
	reply, err := l.c.Call(context.Background(), req)
	reply.Release()
	return err
}

// readerGoroutine is the alternative, with the same pools and headers.
type readerGoroutine struct {
	conn  net.Conn
	write sync.Mutex

	mu      sync.Mutex
	xid     uint32
	pending map[uint32]*waiter
}

type waiter struct {
	ready chan *Buffer
	into  []byte
}

var waiters = sync.Pool{New: func() any { return &waiter{ready: make(chan *Buffer, 1)} }}

func newReaderGoroutine(conn net.Conn) *readerGoroutine {
	r := &readerGoroutine{conn: conn, pending: make(map[uint32]*waiter)}
	go r.read()
	return r
}

func (r *readerGoroutine) read() {
	in := bufio.NewReaderSize(r.conn, inputSize)
	var front [8]byte
	for {
		if _, err := io.ReadFull(in, front[:]); err != nil {
			return
		}
		size := int(be32(front[:]) &^ lastFragment)
		buf := NewBuffer(size)
		buf.B = append(buf.B, front[4:]...)
		r.mu.Lock()
		w := r.pending[be32(front[4:])]
		delete(r.pending, be32(front[4:]))
		r.mu.Unlock()
		head := size
		if w.into != nil {
			head = acceptedSize + readPrefix
		}
		buf.B = buf.B[:head]
		if _, err := io.ReadFull(in, buf.B[4:]); err != nil {
			return
		}
		if w.into != nil {
			if _, err := io.ReadFull(in, w.into[:size-head]); err != nil {
				return
			}
		}
		w.ready <- buf
	}
}

func (r *readerGoroutine) call(req *Request) error {
	head := NewBuffer(minHead)
	head.B = appendCallHeader(append(head.B, 0, 0, 0, 0), 0, req.Prog, req.Vers, req.Proc, req.Cred)
	head.B = req.Args.AppendXDR(head.B)
	binary.BigEndian.PutUint32(head.B, uint32(len(head.B)+len(req.Payload)-4)|lastFragment)
	w := waiters.Get().(*waiter)
	w.into = req.Into
	r.mu.Lock()
	r.xid++
	binary.BigEndian.PutUint32(head.B[4:], r.xid)
	r.pending[r.xid] = w
	r.mu.Unlock()
	r.write.Lock()
	var err error
	if len(req.Payload) == 0 {
		_, err = r.conn.Write(head.B)
	} else {
		vec := net.Buffers{head.B, req.Payload}
		_, err = vec.WriteTo(r.conn)
	}
	r.write.Unlock()
	head.Release()
	if err != nil {
		return err
	}
	buf := <-w.ready
	waiters.Put(w)
	_, err = decodeReply(buf.B)
	buf.Release()
	return err
}

// benchServer starts the tests' server in a process of its own, as in real
// life, and returns its address.
func benchServer(b *testing.B) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchServer$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "RPC_BENCH_SERVER=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// TestBenchServer is the other process of the benchmarks.
func TestBenchServer(t *testing.T) {
	if os.Getenv("RPC_BENCH_SERVER") == "" {
		return
	}
	fmt.Println(newTestServer(t, nil).addr)
	io.Copy(io.Discard, os.Stdin)
}

// cpuTime returns the processor time that this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchmarkBoth(b *testing.B, depth int, req func() *Request, bytes int64) {
	for _, design := range []string{"leader", "reader"} {
		b.Run(design, func(b *testing.B) {
			address := benchServer(b)
			var c caller
			if design == "leader" {
				client, err := Dial(context.Background(), DialOptions{Address: address, Ports: PortEphemeral})
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				c = leaderFollower{client}
			} else {
				conn, err := DialConn(context.Background(), DialOptions{Address: address, Ports: PortEphemeral})
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				c = newReaderGoroutine(conn)
			}
			b.ReportAllocs()
			b.SetBytes(bytes)
			before := cpuTime()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range depth {
				n := b.N / depth
				if i < b.N%depth {
					n++
				}
				wg.Go(func() {
					req := req()
					for range n {
						if err := c.call(req); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

var benchCred = &Cred{Flavor: AuthGlusterV3, PID: 4321, Groups: []uint32{0}, LockOwner: make([]byte, 8)}

func smallRequest() *Request {
	r := request(procEcho, make([]byte, 64))
	r.Cred = benchCred
	return r
}

func BenchmarkSmall(b *testing.B) {
	for _, depth := range []int{1, 2, 4, 16, 64} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) { benchmarkBoth(b, depth, smallRequest, 0) })
	}
}

const benchPayload = 128 << 10

func BenchmarkRead128K(b *testing.B) {
	for _, depth := range []int{1, 16} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			benchmarkBoth(b, depth, func() *Request { return readRequest(benchPayload, 0, make([]byte, benchPayload)) }, benchPayload)
		})
	}
}

func BenchmarkWrite128K(b *testing.B) {
	payload := make([]byte, benchPayload)
	for _, depth := range []int{1, 16} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			benchmarkBoth(b, depth, func() *Request {
				r := request(procCount, make([]byte, 64))
				r.Payload = payload
				return r
			}, benchPayload)
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	buf := make([]byte, 0, 512)
	var h callHeader
	cred := Cred{Groups: make([]uint32, 0, 16)}
	b.ReportAllocs()
	for b.Loop() {
		buf = appendCallHeader(buf[:0], 7, testProg, testVers, procEcho, benchCred)
		d := xdr.NewDecoder(buf)
		d.Skip(8)
		if h.decode(&d) != nil || cred.decode(h.flavor, h.credBody) != nil {
			b.Fatal("header does not decode")
		}
	}
}
