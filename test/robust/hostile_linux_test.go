package robust

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/manage"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/testenv"
)

func brickAddr(c *manage.Cluster) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.BrickPort(0)))
}

// wire is a client that speaks the messages themselves.
type wire struct {
	*rpc.Client
	t testing.TB
}

func dialWire(t testing.TB, addr string) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := rpc.Dial(ctx, rpc.DialOptions{Address: addr, ClientOptions: rpc.ClientOptions{Log: quiet}})
	must(t, err)
	return &wire{c, t}
}

// introduce sends SETVOLUME.
func (w *wire) introduce(brick string) {
	w.t.Helper()
	d := fop.NewDict()
	for k, v := range map[string]string{"remote-subvolume": brick, "process-uuid": fmt.Sprintf("hostile-%d", rand.Int64()),
		"fops-version": strconv.Itoa(proto.ProgFop), "opversion": "100000"} {
		d.Set(k, fop.Str(v))
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	rep, err := w.Call(ctx, &rpc.Request{Prog: proto.ProgHandshake, Vers: proto.VersHandshake, Proc: proto.HandshakeSetvolume,
		Cred: &rpc.Cred{Flavor: rpc.AuthGlusterV2}, Args: &proto.SetvolumeRequest{Dict: d}})
	must(w.t, err)
	var r proto.SetvolumeReply
	must(w.t, r.Decode(rep.Body))
	if r.Ret != 0 {
		w.t.Fatalf("SETVOLUME: errno %d, %s", r.Errno, r.Dict.Text("ERROR"))
	}
}

// mark is a record mark.
func mark(size uint32, last bool) []byte {
	if last {
		size |= 1 << 31
	}
	return binary.BigEndian.AppendUint32(nil, size)
}

// call is the header of a call with a credential and the arguments.
func call(xid, prog, vers, proc, flavor uint32, cred []byte, args []byte) []byte {
	var b []byte
	for _, n := range []uint32{xid, 0, 2, prog, vers, proc, flavor, uint32(len(cred))} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(b, cred...)
	b = append(b, make([]byte, 8)...) // no verifier
	return append(b, args...)
}

func record(body []byte) []byte { return append(mark(uint32(len(body)), true), body...) }

// TestMalformed sends what is no message, to both kinds of server.
func TestMalformed(t *testing.T) {
	noLeaks(t)
	c := up(t)
	v := mount(t, c)
	must(t, v.WriteFile("good", []byte("text"), 0o644))
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	good := call(1, proto.ProgDump, proto.VersDump, 1, 0, nil, make([]byte, 8))
	badArgs := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	reply := bytes.Clone(good)
	reply[7] = 1
	wrongRPC := bytes.Clone(good)
	wrongRPC[11] = 3
	hugeCred := call(2, proto.ProgFop, 400, 1, 390040, nil, nil)
	binary.BigEndian.PutUint32(hugeCred[28:], 1<<31)
	manyGroups := append(make([]byte, 12), 0xff, 0xff, 0xff, 0xff)
	var fragments []byte
	for range 5000 {
		fragments = append(fragments, mark(1, false)...)
		fragments = append(fragments, 0)
	}
	for name, msg := range map[string][]byte{
		"noise":           noise,
		"huge length":     append(mark(1<<31-1, true), noise...),
		"huge fragments":  append(mark(1<<31-1, false), noise...),
		"truncated":       record(good)[:20],
		"short record":    record(good[:10]),
		"empty record":    record(nil),
		"empty fragments": bytes.Repeat(mark(0, false), 1000),
		"tiny fragments":  fragments,
		"a reply":         record(reply),
		"rpc version 3":   record(wrongRPC),
		"huge credential": record(hugeCred),
		"many groups":     record(call(3, proto.ProgFop, 400, 1, 390040, manyGroups, nil)),
		"bad flavor":      record(call(4, proto.ProgFop, 400, 1, 4711, nil, nil)),
		"huge string":     record(call(5, proto.ProgHandshake, proto.VersHandshake, 1, 0, nil, badArgs(0xffffffff))),
		"huge dictionary": record(call(6, proto.ProgHandshake, proto.VersHandshake, proto.HandshakeGetspec, 0, nil, bytes.Repeat(badArgs(0x7fffffff), 5))),
		"no program":      record(call(7, 42, 1, 1, 0, nil, nil)),
		"no procedure":    record(call(8, proto.ProgHandshake, proto.VersHandshake, 4000000000, 0, nil, nil)),
		"web":             []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":             append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, noise[:500]...),
	} {
		for where, addr := range map[string]string{"management": c.Addr, "brick": brickAddr(c)} {
			conn, err := net.Dial("tcp", addr)
			must(t, err)
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			conn.Write(msg) // may fail: the server is free to hang up early
			conn.(*net.TCPConn).CloseWrite()
			// Whatever the server says, it hangs up when we do.
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: the server keeps the connection", where, name)
			}
			conn.Close()
		}
		if b, err := v.ReadFile("good"); err != nil || string(b) != "text" {
			t.Fatalf("after %s another connection suffers: %q, %v", name, b, err)
		}
	}
	must(t, v.Unmount())
}

// TestEveryProcedure calls every procedure with empty, random and truncated
// arguments, as a stranger and as a client.
func TestEveryProcedure(t *testing.T) {
	noLeaks(t)
	c := up(t)
	v := mount(t, c)
	must(t, v.WriteFile("good", []byte("text"), 0o644))
	rnd := rand.New(rand.NewPCG(3, 4))
	type program struct{ prog, vers, procs uint32 }
	all := []program{{proto.ProgFop, 400, 62}, {proto.ProgFop, 330, 62}, {proto.ProgHandshake, proto.VersHandshake, 10},
		{proto.ProgDump, proto.VersDump, 6}, {proto.ProgPortmap, proto.VersPortmap, 8}}
	run := func(addr, brick string) {
		w := dialWire(t, addr)
		defer func() { w.Close() }()
		if brick != "" {
			w.introduce(brick)
		}
		for _, p := range all {
			for proc := range p.procs {
				for round := range 6 {
					args := make([]byte, []int{0, 3, 16, 60, 300, 2000}[round])
					for i := range args {
						switch rnd.IntN(3) {
						case 0: // plausible counts and lengths
						case 1:
							args[i] = byte(rnd.Uint32())
						default:
							args[i] = byte(rnd.IntN(4))
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // random locks may wait
					if proc == proto.HandshakeEventNotify && p.prog == proto.ProgHandshake {
						cancel() // has no reply
					}
					_, err := w.Call(ctx, &rpc.Request{Prog: p.prog, Vers: p.vers, Proc: proc, Cred: &rpc.Cred{Flavor: rpc.AuthGlusterV3, LockOwner: []byte("12345678")}, Args: rpc.Raw(args)})
					cancel()
					var re *rpc.ReplyError
					if err != nil && !errors.As(err, &re) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
						// The connection is gone, which is allowed.
						w.Close()
						w = dialWire(t, addr)
						if brick != "" {
							w.introduce(brick)
						}
					}
				}
			}
		}
	}
	run(c.Addr, "")
	run(brickAddr(c), "")
	run(brickAddr(c), c.Volume.Bricks[0].Path)
	if b, err := v.ReadFile("good"); err != nil || string(b) != "text" {
		t.Errorf("another connection suffers: %q, %v", b, err)
	}
	must(t, v.Unmount())
}

func rss(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	var size, res int64
	fmt.Sscan(string(b), &size, &res)
	return res * int64(os.Getpagesize())
}

// TestIdleCrowd: silent and slow connections cost the others nothing.
func TestIdleCrowd(t *testing.T) {
	noLeaks(t)
	c := up(t)
	v := mount(t, c)
	data := bytes.Repeat([]byte{'d'}, 1<<20)
	must(t, v.WriteFile("big", data, 0o644))
	latency := func() time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			for range 100 {
				if _, err := v.Stat("big"); err != nil {
					t.Fatal(err)
				}
			}
			best = min(best, time.Since(start)/100)
		}
		return best
	}
	before := latency()
	runtime.GC()
	memory := rss(t)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range 200 {
		conn, err := net.Dial("tcp", []string{c.Addr, brickAddr(c)}[i%2])
		must(t, err)
		conns = append(conns, conn)
		if i%4 > 1 { // half of them in the middle of a huge record
			conn.Write(append(mark(1<<30-1, true), make([]byte, 100)...))
		}
	}
	// Slow ones ask for much and read little.
	head := readBig(t, v)
	for range 50 {
		conn := rawClient(t, c)
		conns = append(conns, conn)
		_, err := conn.Write(bytes.Repeat(head, 4))
		must(t, err)
	}
	for _, conn := range conns[200:] { // the first reply comes, and a bit of it is read
		n, err := conn.Read(make([]byte, 1000))
		if err != nil || n == 0 {
			t.Fatal(err)
		}
	}
	during := latency()
	more := rss(t) - memory
	t.Logf("latency %v, with the crowd %v; %d MiB more memory", before, during, more>>20)
	if during > 3*before+2*time.Millisecond {
		t.Errorf("latency goes from %v to %v", before, during)
	}
	if b, err := v.ReadFile("big"); err != nil || !bytes.Equal(b, data) {
		t.Errorf("reading: %d bytes, %v", len(b), err)
	}
	if more > 500<<20 {
		t.Errorf("%d MiB more memory", more>>20)
	}
	must(t, v.Unmount())
}

// readBig is a call that reads the file "big".
func readBig(t testing.TB, v *gfapi.Volume) []byte {
	fi, err := v.Stat("big")
	must(t, err)
	head, _, err := proto.AppendRequest(nil, proto.V400, &fop.Read{GFID: fop.GFID(fi.Sys().(*gfapi.Stat).GFID), Size: 1 << 20}, proto.FdRefs{A: -2})
	must(t, err)
	return record(call(77, proto.ProgFop, 400, uint32(fop.OpRead), uint32(rpc.AuthNone), nil, head))
}

// TestGreedyPipeline: a peer asks for 10 GB in one breath and reads nothing.
func TestGreedyPipeline(t *testing.T) {
	noLeaks(t)
	c := up(t)
	v := mount(t, c)
	data := bytes.Repeat([]byte{'d'}, 1<<20)
	must(t, v.WriteFile("big", data, 0o644))
	conn := rawClient(t, c)
	defer conn.Close()
	one := readBig(t, v)
	memory := rss(t)
	conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent, err := conn.Write(bytes.Repeat(one, 10000))
	t.Logf("sent %d of %d bytes: %v", sent, 10000*len(one), err)
	peak := int64(0)
	for range 20 {
		peak = max(peak, rss(t)-memory)
		start := time.Now()
		if _, err := v.Stat("big"); err != nil || time.Since(start) > 20*time.Second { // it would wait for ever
			t.Errorf("another client: %v after %v", err, time.Since(start))
		}
		time.Sleep(20 * time.Millisecond) // gives the server time to grow
	}
	t.Logf("%d MiB more memory", peak>>20)
	var m [4]byte
	if _, err := io.ReadFull(conn, m[:]); err != nil || binary.BigEndian.Uint32(m[:])&^(1<<31) < 1<<20 {
		t.Errorf("the first reply: %x, %v", m, err)
	}
	if peak > 300<<20 {
		t.Errorf("the server takes %d MiB", peak>>20)
	}
	must(t, v.Unmount())
}

// rawClient is a connection that was introduced and that nobody reads.
func rawClient(t testing.TB, c *manage.Cluster) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", brickAddr(c))
	must(t, err)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	d := fop.NewDict()
	for k, v := range map[string]string{"remote-subvolume": c.Volume.Bricks[0].Path, "process-uuid": fmt.Sprintf("raw-%d", rand.Int64()), "fops-version": strconv.Itoa(proto.ProgFop), "opversion": "100000"} {
		d.Set(k, fop.Str(v))
	}
	_, err = conn.Write(record(call(5, proto.ProgHandshake, proto.VersHandshake, proto.HandshakeSetvolume, 0, nil, (&proto.SetvolumeRequest{Dict: d}).AppendXDR(nil))))
	must(t, err)
	var m [4]byte
	_, err = io.ReadFull(conn, m[:])
	must(t, err)
	_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(m[:])&^(1<<31)))
	must(t, err)
	return conn
}

// TestHalfWrite: a client goes away in the middle of a WRITE, with locks held.
func TestHalfWrite(t *testing.T) {
	noLeaks(t)
	c := up(t)
	v := mount(t, c)
	data := bytes.Repeat([]byte{'d'}, 256<<10)
	must(t, v.WriteFile("file", data, 0o644))
	fi, err := v.Stat("file")
	must(t, err)
	gfid := fop.GFID(fi.Sys().(*gfapi.Stat).GFID)
	var work sync.WaitGroup
	for i := range 20 {
		conn := rawClient(t, c)
		head, payload, err := proto.AppendRequest(nil, proto.V400, &fop.Write{GFID: gfid, Data: bytes.Repeat([]byte{'X'}, 1<<20)}, proto.FdRefs{A: -2})
		must(t, err)
		msg := record(call(9, proto.ProgFop, 400, uint32(fop.OpWrite), uint32(rpc.AuthNone), nil, append(head, payload...)))
		conn.Write(msg[:len(msg)*(i+1)/21])
		if i%2 == 0 {
			conn.(*net.TCPConn).SetLinger(0) // a reset
			conn.Close()
		} else { // half open: nothing more comes, and it is closed at the end
			work.Go(func() { io.Copy(io.Discard, conn) })
			defer conn.Close()
		}
	}
	got, err := v.ReadFile("file")
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("half a WRITE changes the file: %d bytes, %v", len(got), err)
	}
	must(t, v.Unmount())
	must(t, c.Close()) // does not wait for those that are silent
	work.Wait()
}

// TestHijack: nobody moves a brick of the cluster to a port of his own.
func TestHijack(t *testing.T) {
	noLeaks(t)
	c := up(t)
	w := dialWire(t, c.Addr)
	defer w.Close()
	brick := c.Volume.Bricks[0].Path
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	rep, err := w.Call(ctx, &rpc.Request{Prog: proto.ProgPortmap, Vers: proto.VersPortmap, Proc: proto.PortmapSignin, Args: &proto.SigninRequest{Brick: brick, Port: 4711}})
	must(t, err)
	var s proto.Status
	must(t, s.Decode(rep.Body))
	if s.Ret != -1 || s.Errno != int32(syscall.EPERM) || c.BrickPort(0) == 4711 {
		t.Errorf("a stranger signs in as the brick: %+v, port %d", s, c.BrickPort(0))
	}
	testenv.Wait(t, time.Second, "the port", func() bool { return c.BrickPort(0) > 0 })
}
