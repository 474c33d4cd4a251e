package rpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/xdr"
	"github.com/wythefs/wythe/internal/xdr/vectortest"
)

func vector(t testing.TB, name string) []byte {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join("testdata", "vectors", "*-"+name+".hex"))
	if len(paths) != 1 {
		t.Fatalf("%d vectors named %s", len(paths), name)
	}
	return vectortest.Read(t, paths[0]).Data
}

// brickPrograms are those of a GlusterFS 10.3 brick, in its order.
func brickPrograms() []*Program {
	return []*Program{
		{Name: "GlusterFS 4.x v1", Number: 1298437, Version: 400},
		{Name: "GlusterFS 3.3", Number: 1298437, Version: 330},
		Dump(),
		{Name: "GlusterFS Handshake", Number: 14398633, Version: 2, Procs: make([]Proc, 5)},
	}
}

func mark(msg []byte) []byte {
	return append(xdr.AppendUint32(nil, uint32(len(msg))|lastFragment), msg...)
}

// A rawPeer speaks bytes to a server or a client under test.
type rawPeer struct {
	t testing.TB
	net.Conn
}

func (ts *testServer) rawPeer(t testing.TB) rawPeer {
	t.Helper()
	conn, err := net.Dial(ts.addr.Network(), ts.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return rawPeer{t, conn}
}

func (p rawPeer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// receive reads one record of one fragment.
func (p rawPeer) receive() []byte {
	p.t.Helper()
	var m [4]byte
	if _, err := io.ReadFull(p, m[:]); err != nil {
		p.t.Fatalf("reading a record mark: %v", err)
	}
	if be32(m[:])&lastFragment == 0 {
		p.t.Fatal("not sent in one fragment")
	}
	b := make([]byte, be32(m[:])&^lastFragment)
	if _, err := io.ReadFull(p, b); err != nil {
		p.t.Fatalf("reading a record of %d bytes: %v", len(b), err)
	}
	return b
}

// closed fails the test unless the other end closes the connection.
func (p rawPeer) closed() {
	p.t.Helper()
	n, err := io.Copy(io.Discard, p)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) || n > 0 {
		p.t.Errorf("connection not closed but: %d bytes, %v", n, err)
	}
}

func TestServerAnswersLikeGlusterFS(t *testing.T) {
	ts := newTestServer(t, func(s *Server) { s.Programs = brickPrograms() })
	call := func(xid, prog, vers, proc uint32) []byte {
		return appendCallHeader(nil, xid, prog, vers, proc, &Cred{Flavor: AuthGlusterV2, Groups: []uint32{0}, LockOwner: make([]byte, 8)})
	}
	p := ts.rawPeer(t)
	for _, tc := range []struct {
		name     string
		in, want []byte
	}{
		{"DUMP", vector(t, "dump-request"), vector(t, "dump-reply")},
		{"PING", vector(t, "ping-request"), vector(t, "ping-reply")},
		{"unknown program", call(16, 4711, 1, 1), vector(t, "error-prog-unavail-reply")},
		{"unknown version", call(17, 14398633, 3, 1), vector(t, "error-prog-mismatch-reply")},
		{"unknown procedure", call(18, 14398633, 2, 99), vector(t, "error-proc-unavail-reply")},
		{"procedure without handler", call(18, 14398633, 2, 4), vector(t, "error-proc-unavail-reply")},
		{"arguments too short", call(3, DumpProgram, DumpVersion, DumpDump), vector(t, "error-garbage-args-reply")},
	} {
		p.send(mark(tc.in))
		if diff := vectortest.Diff(p.receive(), tc.want); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestServerRefusesBadHeaders(t *testing.T) {
	ts := newTestServer(t, nil)
	const (
		garbage  = "00000000 00000001 00000000 00000000 00000000 00000004"
		authZero = "00000007 00000001 00000001 00000001 00000000"
		authBad  = "00000007 00000001 00000001 00000001 00000001"
		null     = "00001267 00000003 00000000"
		noVerf   = " 00000000 00000000"
	)
	groups := func(flavor Flavor, n, owner int) string {
		var b []byte
		b = append(b, make([]byte, 12)...)
		if flavor == AuthGlusterV3 {
			b = append(b, make([]byte, 16)...)
		}
		b = xdr.AppendUint32(b, uint32(n))
		b = append(b, make([]byte, 4*n)...)
		b = xdr.AppendOpaque(b, make([]byte, owner))
		return hex.EncodeToString(xdr.AppendOpaque(xdr.AppendUint32(nil, uint32(flavor)), b)) + noVerf
	}
	const success = "00000007 00000001 00000000 00000000 00000000 00000000"
	for _, tc := range []struct{ name, header, want string }{
		{"RPC version 3", "00000007 00000000 00000003" + null + "00000000 00000000" + noVerf, garbage},
		{"credential of 404 bytes", "00000007 00000000 00000002" + null + "0005f397 00000194" + strings.Repeat("00", 404) + noVerf, garbage},
		{"header cut short", "00000007 00000000 00000002 00001267", garbage},
		{"v2 body cut short", "00000007 00000000 00000002" + null + "0005f397 00000008 0000000000000000" + noVerf, authZero},
		{"unknown flavor", "00000007 00000000 00000002" + null + "00000063 00000000" + noVerf, authBad},
		{"v2, 87 groups", "00000007 00000000 00000002" + null + groups(AuthGlusterV2, 87, 8), success},
		{"v2, 88 groups", "00000007 00000000 00000002" + null + groups(AuthGlusterV2, 88, 8), authZero},
		{"v3, 83 groups", "00000007 00000000 00000002" + null + groups(AuthGlusterV3, 83, 8), success},
		{"v3, 84 groups", "00000007 00000000 00000002" + null + groups(AuthGlusterV3, 84, 8), authZero},
		{"v3, lock owner of 92 bytes", "00000007 00000000 00000002" + null + groups(AuthGlusterV3, 0, 92), authZero},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := ts.rawPeer(t)
			p.send(mark(unhex(t, tc.header)))
			if diff := vectortest.Diff(p.receive(), unhex(t, tc.want)); diff != "" {
				t.Error(diff)
			}
			// The connection lives on.
			p.send(mark(appendCallHeader(nil, 9, testProg, testVers, procNull, nil)))
			if got := p.receive(); be32(got) != 9 || len(got) != acceptedSize {
				t.Errorf("next call got %x", got)
			}
		})
	}
}

func TestServerDeniesUnprivilegedPorts(t *testing.T) {
	ts := newTestServer(t, func(s *Server) { s.PrivilegedOnly = true })
	p := ts.rawPeer(t)
	p.send(mark(vector(t, "ping-request")))
	want := unhex(t, "00000003 00000001 00000001 00000001 00000002")
	if diff := vectortest.Diff(p.receive(), want); diff != "" {
		t.Error(diff)
	}
	c := ts.dial(t, DialOptions{})
	_, err := c.Call(t.Context(), request(procNull, nil))
	var denied *ReplyError
	if !errors.As(err, &denied) || !denied.Denied || denied.Auth != AuthRejectedCred || !errors.Is(err, syscall.EACCES) {
		t.Errorf("client got %v", err)
	}
}

func TestMalformedPacketsCloseOnlyTheirConnection(t *testing.T) {
	ts := newTestServer(t, func(s *Server) { s.MaxRecord = 1 << 20 })
	good := ts.dial(t, DialOptions{})
	for _, tc := range []struct {
		name string
		in   []byte
	}{
		{"message type 2", mark(unhex(t, "00000007 00000002 00000000"))},
		{"empty record", mark(nil)},
		{"record of 4 bytes", mark(make([]byte, 4))},
		{"record of the limit", xdr.AppendUint32(nil, 1<<20|lastFragment)},
		{"record of 2 GiB", []byte{0xff, 0xff, 0xff, 0xff}},
		{"fragments over the limit", append(append(xdr.AppendUint32(nil, 1<<19), make([]byte, 1<<19)...), xdr.AppendUint32(nil, 1<<19)...)},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := ts.rawPeer(t)
			p.send(tc.in)
			p.closed()
			mustEcho(t, good, "good")
		})
	}
}

func TestServerIgnoresReplies(t *testing.T) {
	ts := newTestServer(t, nil)
	p := ts.rawPeer(t)
	p.send(mark(vector(t, "ping-reply")))
	p.send(mark(vector(t, "ping-request")))
	if diff := vectortest.Diff(p.receive(), vector(t, "ping-reply")); diff != "" {
		t.Error(diff)
	}
}

func TestServerAcceptsFragments(t *testing.T) {
	ts := newTestServer(t, nil)
	p := ts.rawPeer(t)
	msg := vector(t, "ping-request")
	for _, cuts := range [][]int{{0, 10, 10, 40, 72, 72}, {0, 72, 72}, {0, 0, 0, 1, 72}} {
		var b []byte
		for i := range len(cuts) - 1 {
			part := msg[cuts[i]:cuts[i+1]]
			word := uint32(len(part))
			if i == len(cuts)-2 {
				word |= lastFragment
			}
			b = append(xdr.AppendUint32(b, word), part...)
		}
		for _, piece := range []int{len(b), 1, 7} {
			for i := 0; i < len(b); i += piece {
				p.send(b[i:min(i+piece, len(b))])
			}
			if diff := vectortest.Diff(p.receive(), vector(t, "ping-reply")); diff != "" {
				t.Errorf("cuts %v in pieces of %d: %s", cuts, piece, diff)
			}
		}
	}
}

func TestClientSendsLikeGlusterFS(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near, ClientOptions{Log: quiet})
	defer c.Close()
	p := rawPeer{t, far}
	cred := &Cred{Flavor: AuthGlusterV2, PID: 4321, Groups: []uint32{0}, LockOwner: unhex(t, "1122334455667788")}
	for _, tc := range []struct {
		vector string
		req    *Request
	}{
		{"dump", &Request{Prog: DumpProgram, Vers: DumpVersion, Proc: DumpDump, Cred: cred, Args: Raw(xdr.AppendUint64(nil, 0xcaed))}},
		{"ping", &Request{Prog: DumpProgram, Vers: DumpVersion, Proc: DumpPing, Cred: cred}},
	} {
		pending := c.Start(tc.req)
		if diff := vectortest.Diff(p.receive(), vector(t, tc.vector+"-request")); diff != "" {
			t.Errorf("%s: %s", tc.vector, diff)
		}
		want := vector(t, tc.vector+"-reply")
		go p.Write(mark(want))
		reply, err := pending.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(reply.Body, want[acceptedSize:]) {
			t.Errorf("%s: body %x", tc.vector, reply.Body)
		}
		reply.Release()
	}
	if c.NextXID() != 4 {
		t.Errorf("next xid %d, want 4", c.NextXID())
	}
}

func TestClientUnderstandsErrorReplies(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply []byte
		want  ReplyError
		errno syscall.Errno
	}{
		{"PROG_UNAVAIL", vector(t, "error-prog-unavail-reply"), ReplyError{Accept: ProgUnavail}, syscall.EOPNOTSUPP},
		{"PROG_MISMATCH", vector(t, "error-prog-mismatch-reply"), ReplyError{Accept: ProgMismatch}, syscall.EOPNOTSUPP},
		{"PROC_UNAVAIL", vector(t, "error-proc-unavail-reply"), ReplyError{Accept: ProcUnavail}, syscall.EOPNOTSUPP},
		{"GARBAGE_ARGS", vector(t, "error-garbage-args-reply"), ReplyError{Accept: GarbageArgs}, syscall.EINVAL},
		{"GARBAGE_ARGS with a body", append(vector(t, "error-garbage-args-reply"), 1, 2, 3, 4), ReplyError{Accept: GarbageArgs}, syscall.EINVAL},
		{"AUTH_ERROR", unhex(t, "00000010 00000001 00000001 00000001 00000002"), ReplyError{Denied: true, Reject: 1, Auth: AuthRejectedCred}, syscall.EACCES},
		{"RPC_MISMATCH", unhex(t, "00000010 00000001 00000001 00000000 00000002 00000002"), ReplyError{Denied: true, Low: 2, High: 2}, syscall.EACCES},
	} {
		_, err := decodeReply(tc.reply)
		var e *ReplyError
		if !errors.As(err, &e) || *e != tc.want || !errors.Is(err, tc.errno) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
	for _, bad := range []string{"", "00000010", "00000010 00000001", "00000010 00000001 00000002", "00000010 00000001 00000001 00000005",
		"00000010 00000001 00000000 00000000 00000000", "00000010 00000000 00000000 00000000 00000000 00000000",
		"00000010 00000001 00000000 00000000 ffffffff 00000000"} {
		if _, err := decodeReply(unhex(t, bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	many := make([]uint32, 200)
	for i := range many {
		many[i] = uint32(1000 + i)
	}
	for _, tc := range []struct {
		name   string
		cred   Cred
		groups int // that survive
		body   int
	}{
		{"none", Cred{}, 0, 0},
		{"unix", Cred{Flavor: AuthUnix, UID: 7, GID: 8, Groups: many}, 16, 20 + 64},
		{"v1", Cred{Flavor: AuthGlusterV1, PID: -6, UID: 7, GID: 8, Groups: many, LockOwner: []byte("12345678")}, 16, 88},
		{"v1 few groups", Cred{Flavor: AuthGlusterV1, Groups: many[:2], LockOwner: []byte("12345678")}, 2, 88},
		{"v2", Cred{Flavor: AuthGlusterV2, PID: -13, UID: 7, GID: 8, Groups: many, LockOwner: []byte("12345678")}, 87, 376},
		{"v2 no owner", Cred{Flavor: AuthGlusterV2, Groups: many}, 95, 400},
		{"v2 long owner", Cred{Flavor: AuthGlusterV2, Groups: many, LockOwner: make([]byte, 95)}, 0, 116},
		{"v3", Cred{Flavor: AuthGlusterV3, PID: 4, UID: 7, GID: 8, Groups: many, LockOwner: []byte("12345678"), TimeFlags: 31, CTimeSec: 1 << 33, CTimeNsec: 999}, 83, 376},
		{"v3 odd owner", Cred{Flavor: AuthGlusterV3, Groups: many, LockOwner: []byte("12345")}, 86, 388},
	} {
		if err := tc.cred.Check(); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		b := tc.cred.AppendXDR(nil)
		d := xdr.NewDecoder(b)
		flavor, body := Flavor(d.Uint32()), d.Opaque(maxCredBody)
		if d.Finish() != nil || len(body) != tc.body {
			t.Errorf("%s: body of %d bytes, want %d (%v)", tc.name, len(body), tc.body, d.Err())
		}
		var got Cred
		if err := got.decode(flavor, body); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		want := tc.cred
		want.Groups = want.Groups[:tc.groups]
		if got.Flavor != want.Flavor || got.PID != want.PID || got.UID != want.UID || got.GID != want.GID ||
			!bytes.Equal(got.LockOwner, want.LockOwner) || got.TimeFlags != want.TimeFlags ||
			got.CTimeSec != want.CTimeSec || got.CTimeNsec != want.CTimeNsec || len(got.Groups) != tc.groups {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, want)
		}
		for i, g := range got.Groups {
			if g != want.Groups[i] {
				t.Errorf("%s: group %d is %d", tc.name, i, g)
			}
		}
		again := got.Clone().AppendXDR(nil)
		if !bytes.Equal(again, b) {
			t.Errorf("%s: encoded again: %x, want %x", tc.name, again, b)
		}
	}
	for _, bad := range []Cred{
		{Flavor: 6}, {Flavor: AuthGlusterV1, LockOwner: make([]byte, 9)},
		{Flavor: AuthGlusterV2, LockOwner: make([]byte, 96)}, {Flavor: AuthGlusterV3, LockOwner: make([]byte, 92)},
	} {
		if err := bad.Check(); !errors.Is(err, ErrCred) {
			t.Errorf("%+v passed: %v", bad, err)
		}
	}
}
