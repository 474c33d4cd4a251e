package proto

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xdr"
	"github.com/wythefs/wythe/internal/xdr/vectortest"
)

// plain is what all structs of messages.go can do.
type plain interface {
	AppendXDR([]byte) []byte
	Decode([]byte) error
}

// plainOf returns an empty message of a procedure outside of the fop program.
func plainOf(prog, proc uint32, reply bool) plain {
	pick := func(a, b plain) plain {
		if reply {
			return b
		}
		return a
	}
	switch prog<<8 | proc {
	case ProgDump<<8&0xffffffff | DumpDump:
		return pick(new(DumpRequest), new(DumpReply))
	case ProgDump<<8&0xffffffff | DumpPing:
		return pick(nil, new(NullReply))
	case ProgHandshake<<8&0xffffffff | HandshakeSetvolume:
		return pick(new(SetvolumeRequest), new(SetvolumeReply))
	case ProgHandshake<<8&0xffffffff | HandshakeGetspec:
		return pick(new(GetspecRequest), new(GetspecReply))
	case ProgHandshake<<8&0xffffffff | HandshakePing:
		return pick(nil, new(NullReply))
	case ProgHandshake<<8&0xffffffff | HandshakeSetLkVer:
		return pick(new(SetLkVerRequest), new(SetLkVerReply))
	case ProgHandshake<<8&0xffffffff | HandshakeGetVolumeInfo:
		return pick(new(DictRequest), new(DictReply))
	case ProgPortmap<<8&0xffffffff | PortmapPortByBrick:
		return pick(new(PortByBrickRequest), new(PortByBrickReply))
	case ProgPortmap<<8&0xffffffff | PortmapSignin:
		return pick(new(SigninRequest), new(Status))
	}
	return nil
}

type callHeader struct{ prog, vers, proc uint32 }

// splitCall cuts the RPC header off a call.
func splitCall(t *testing.T, data []byte) (callHeader, []byte) {
	t.Helper()
	d := xdr.NewDecoder(data)
	d.Skip(12)
	h := callHeader{d.Uint32(), d.Uint32(), d.Uint32()}
	for range 2 { // credential and verifier
		d.Uint32()
		d.Opaque(400)
	}
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	return h, d.Rest()
}

const replyHeader = 24

// stem strips number and kind from a vector's name: "24-create-reply" and
// "23-create-request" are both "create".
func stem(v vectortest.Vector) string {
	s := strings.TrimSuffix(v.Name, "-"+v.Kind)
	return s[strings.IndexByte(s, '-')+1:]
}

// opOfStem finds the fop of a reply whose request was not captured.
func opOfStem(s string) fop.Op {
	base, _, _ := strings.Cut(s, "-")
	for op := fop.Op(1); op < fop.OpCount; op++ {
		if strings.EqualFold(op.String(), base) {
			return op
		}
	}
	return 0
}

// TestVectors decodes every captured message and encodes it again to the same
// bytes.
func TestVectors(t *testing.T) {
	requests := map[string]callHeader{}
	done := map[fop.Op]bool{}
	for _, v := range vectortest.Load(t, "testdata/vectors") {
		t.Run(v.Name, func(t *testing.T) {
			switch {
			case v.Kind == "request":
				h, body := splitCall(t, v.Data)
				requests[stem(v)] = h
				if h.prog == ProgFop {
					done[fop.Op(h.proc)] = true
				}
				checkRequest(t, h, body)
			case v.Kind == "callback":
				h, body := splitCall(t, v.Data)
				checkCallback(t, h, body)
			case strings.Contains(v.Name, "-error-"):
				if len(v.Data) < replyHeader || binary.BigEndian.Uint32(v.Data[20:]) == 0 {
					t.Fatal("not an RPC error")
				}
			default:
				h, ok := requests[stem(v)]
				if !ok {
					h = callHeader{ProgFop, 400, uint32(opOfStem(stem(v)))}
					switch s := stem(v); {
					case strings.HasPrefix(s, "getspec"):
						h = callHeader{ProgHandshake, 2, HandshakeGetspec}
					case strings.HasPrefix(s, "portbybrick"):
						h = callHeader{ProgPortmap, 1, PortmapPortByBrick}
					}
				}
				checkReply(t, h, v.Data[replyHeader:])
			}
		})
	}
	if len(done) < 25 {
		t.Errorf("only %d fops among the vectors", len(done))
	}
}

func checkRequest(t *testing.T, h callHeader, body []byte) {
	if h.prog != ProgFop {
		m := plainOf(h.prog, h.proc, false)
		if m == nil {
			if len(body) != 0 {
				t.Fatalf("no message for %+v with %d bytes", h, len(body))
			}
			return
		}
		checkPlain(t, m, body)
		return
	}
	req, fd, err := DecodeRequest(Version(h.vers), h.proc, body)
	if err != nil {
		t.Fatal(err)
	}
	head, payload, err := AppendRequest(nil, Version(h.vers), req, fd)
	if err != nil {
		t.Fatal(err)
	}
	if d := vectortest.Diff(append(head, payload...), body); d != "" {
		t.Error(d)
	}
	if _, _, n := Fds(req); n != fd.N {
		t.Errorf("Fds says %d open files, the message had %d", n, fd.N)
	}
	if n := PayloadPrefix(Version(h.vers), h.proc); n > 0 {
		if at := PayloadSplit(Version(h.vers), body[:n]); at != len(head) {
			t.Errorf("PayloadSplit = %d, want %d", at, len(head))
		}
	}
	if req.Op() == fop.OpWrite || req.Op() == fop.OpPut {
		split, _, err := DecodeRequestPayload(Version(h.vers), h.proc, head, payload)
		if err != nil || string(split.(*fop.Write).Data) != string(payload) {
			t.Errorf("payload apart: %v", err)
		}
	}
}

func checkPlain(t *testing.T, m plain, body []byte) {
	if err := m.Decode(body); err != nil {
		t.Fatal(err)
	}
	if d := vectortest.Diff(m.AppendXDR(nil), body); d != "" {
		t.Errorf("%T: %s", m, d)
	}
}

func checkReply(t *testing.T, h callHeader, body []byte) {
	if h.prog != ProgFop {
		checkPlain(t, plainOf(h.prog, h.proc, true), body)
		return
	}
	v, op := Version(h.vers), fop.Op(h.proc)
	reply, opErr, err := DecodeReply(v, op, body)
	if err != nil {
		t.Fatal(err)
	}
	head, payload := AppendReply(nil, v, op, reply, opErr)
	got := append(head, payload...)
	if opErr == nil && op != fop.OpRead && op != fop.OpReaddir && op != fop.OpReaddirp {
		copy(got[4:8], body[4:8]) // op_errno of a success is what it happens to be
	}
	if d := vectortest.Diff(got, body); d != "" {
		t.Error(d)
	}
	if op == fop.OpRead && opErr == nil {
		at := ReadReplySplit(v, body[:ReadReplyPrefix(v)])
		if at != len(head) {
			t.Errorf("ReadReplySplit = %d, want %d", at, len(head))
		}
		split, _, err := DecodeReadReply(v, head, payload)
		if err != nil || string(split.(*fop.ReadReply).Data) != string(payload) {
			t.Errorf("payload apart: %v", err)
		}
	}
}

func checkCallback(t *testing.T, h callHeader, body []byte) {
	if h.proc == CallbackStatedump {
		checkPlain(t, new(StatedumpCallback), body)
		return
	}
	u, err := DecodeCallback(h.proc, body)
	if err != nil {
		t.Fatal(err)
	}
	got, proc, ok := AppendUpcall(nil, u)
	if !ok || proc != h.proc {
		t.Fatalf("proc %d, ok %v", proc, ok)
	}
	if d := vectortest.Diff(got, body); d != "" {
		t.Error(d)
	}
}

func decodeVector[T fop.Request](t *testing.T, name string) T {
	t.Helper()
	h, body := splitCall(t, vectortest.Read(t, "testdata/vectors/"+name+".hex").Data)
	req, _, err := DecodeRequest(V400, h.proc, body)
	if err != nil {
		t.Fatal(err)
	}
	return req.(T)
}

func decodeReplyVector[T fop.Reply](t *testing.T, op fop.Op, name string) (T, error) {
	t.Helper()
	data := vectortest.Read(t, "testdata/vectors/"+name+".hex").Data
	reply, opErr, err := DecodeReply(V400, op, data[replyHeader:])
	if err != nil {
		t.Fatal(err)
	}
	r, _ := reply.(T)
	return r, opErr
}

// TestVectorFields looks at what stands in some of the captured messages.
func TestVectorFields(t *testing.T) {
	create := decodeVector[*fop.Create](t, "23-create-request")
	if g, ok := mustGet(t, create.XData, fop.KeyGFIDReq).GFID(); !ok || g.IsZero() || create.Parent.IsZero() || create.Name == "" {
		t.Errorf("create: %+v", create)
	}
	created, err := decodeReplyVector[*fop.CreateReply](t, fop.OpCreate, "24-create-reply")
	if err != nil || !created.Stat.IsRegular() || created.Stat.Ino != created.Stat.GFID.Ino() || created.Stat.Flags != fop.IattAll {
		t.Errorf("created: %+v, %v", created, err)
	}
	if !created.PostParent.IsDir() {
		t.Errorf("parent after create: %+v", created.PostParent)
	}
	read, err := decodeReplyVector[*fop.ReadReply](t, fop.OpRead, "32-read-reply")
	if err != nil || len(read.Data) == 0 || !read.EOF {
		t.Errorf("read: %d bytes, EOF %v, %v", len(read.Data), read.EOF, err)
	}
	_, err = decodeReplyVector[*fop.LookupReply](t, fop.OpLookup, "22-lookup-2-reply")
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("lookup of nothing: %v", err)
	}
	lk := decodeVector[*fop.Lk](t, "56-lk-request")
	if lk.Cmd != fop.LkSet || lk.Flock.Type != fop.LockWrite || lk.Flock.Owner == "" {
		t.Errorf("lk: %+v", lk)
	}
	inodelk := decodeVector[*fop.Inodelk](t, "41-inodelk-request")
	if inodelk.Domain == "" || inodelk.Flock.Owner != "" {
		t.Errorf("inodelk: %+v", inodelk)
	}
	setx := decodeVector[*fop.Setxattr](t, "85-setxattr-set-ctime-mdata-request")
	if m, ok := mustGet(t, setx.Dict, fop.KeySetCtime).Mdata(); !ok || m.Atime.Sec != 1795356287 || m.Ctime.Nsec != 399628022 {
		t.Errorf("mdata: %+v", m)
	}
	list, err := decodeReplyVector[*fop.ReaddirReply](t, fop.OpReaddirp, "48-readdirp-reply")
	if err != nil || len(list.Entries) < 3 {
		t.Errorf("readdirp: %d entries, %v", len(list.Entries), err)
	}
	fs, err := decodeReplyVector[*fop.StatfsReply](t, fop.OpStatfs, "53-statfs-reply")
	if err != nil || fs.Statfs.Namemax != 255 {
		t.Errorf("statfs: %+v, %v", fs, err)
	}
	sum, err := decodeReplyVector[*fop.RchecksumReply](t, fop.OpRchecksum, "61-rchecksum-reply")
	if err != nil || len(sum.Strong) != 32 || sum.Flags != 1 {
		t.Errorf("rchecksum: %+v, %v", sum, err)
	}
}

func mustGet(t *testing.T, d *fop.Dict, key string) fop.Value {
	t.Helper()
	v, ok := d.Get(key)
	if !ok {
		t.Errorf("no %q", key)
	}
	return v
}
