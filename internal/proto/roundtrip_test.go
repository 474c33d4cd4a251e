package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

var versions = []Version{V330, V400}

// random fills the fields of a fop's struct that travel in version v with
// values that survive the way: test code, so reflection is fine here.
func random(r *rand.Rand, v Version, x reflect.Value) {
	switch p := x.Addr().Interface().(type) {
	case *fop.GFID:
		*p = fop.GFID{0: byte(1 + r.IntN(255)), 15: byte(r.IntN(256))}
		return
	case *fop.Iatt:
		*p = randomIatt(r, v)
		return
	case **fop.Dict:
		*p = randomDict(r, v)
		return
	case *fop.Cred, *fop.Stamp, **fop.Fd, **fop.Client:
		return
	}
	switch x.Kind() {
	case reflect.Struct:
		for i := range x.NumField() {
			tag := x.Type().Field(i).Tag.Get("wire")
			if tag == "v400" && v < V400 || tag == "-" {
				continue
			}
			random(r, v, x.Field(i))
			switch tag {
			case "oflags":
				x.Field(i).SetUint(x.Field(i).Uint() & openFlags)
			case "ret":
				if x.Field(i).CanInt() {
					x.Field(i).SetInt(int64(r.Int32()))
				} else {
					x.Field(i).SetUint(uint64(r.Int32()))
				}
			}
		}
	case reflect.String:
		x.SetString(randomText(r))
	case reflect.Uint32:
		x.SetUint(uint64(r.Uint32()))
	case reflect.Uint64:
		x.SetUint(r.Uint64())
	case reflect.Int32:
		x.SetInt(int64(int32(r.Uint32())))
	case reflect.Int64:
		x.SetInt(int64(r.Uint64()))
	case reflect.Bool:
		x.SetBool(r.IntN(2) == 0)
	case reflect.Array:
		for i := range x.Len() {
			x.Index(i).SetUint(uint64(r.IntN(256)))
		}
	case reflect.Slice:
		n := 1 + r.IntN(5)
		x.Set(reflect.MakeSlice(x.Type(), n, n))
		for i := range n {
			if x.Index(i).Kind() == reflect.Uint8 {
				x.Index(i).SetUint(uint64(r.IntN(256)))
			} else {
				random(r, v, x.Index(i))
			}
		}
	default:
		panic(x.Type().String())
	}
}

func randomText(r *rand.Rand) string {
	return strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(7))
}

func randomIatt(r *rand.Rand, v Version) (a fop.Iatt) {
	if r.IntN(8) == 0 {
		return a
	}
	a = fop.Iatt{
		GFID: fop.NewGFID(), Flags: fop.IattAll, Ino: r.Uint64(), Dev: r.Uint64(), Rdev: r.Uint64(), Size: r.Uint64(), Blocks: r.Uint64(),
		Atime: fop.Time{Sec: int64(r.Uint32()), Nsec: r.Uint32()}, Mtime: fop.Time{Sec: int64(r.Uint32()), Nsec: r.Uint32()},
		Ctime: fop.Time{Sec: int64(r.Uint32()), Nsec: r.Uint32()}, Nlink: r.Uint32(), UID: r.Uint32(), GID: r.Uint32(), Blksize: r.Uint32(), Mode: r.Uint32(),
	}
	if v >= V400 {
		a.Flags, a.Attributes, a.AttributesMask = r.Uint64()|1, r.Uint64(), r.Uint64()
		a.Btime = fop.Time{Sec: int64(r.Uint64()), Nsec: r.Uint32()}
		a.Mtime.Sec = -a.Mtime.Sec
	}
	return a
}

func randomDict(r *rand.Rand, v Version) *fop.Dict {
	n := r.IntN(5) - 1
	if n < 0 {
		return nil
	}
	d := new(fop.Dict)
	for i := range n {
		key := fmt.Sprintf("%s.%d", randomText(r), i)
		if v < V400 {
			d.Set(key, fop.Raw(fop.TypeStrOld, []byte(randomText(r))))
			continue
		}
		switch r.IntN(9) {
		case 0:
			d.Set(key, fop.Raw(fop.TypeStrOld, []byte(randomText(r))))
		case 1:
			d.Set(key, fop.Int(int64(r.Uint64())))
		case 2:
			d.Set(key, fop.Uint(r.Uint64()))
		case 3:
			d.Set(key, fop.Double(r.NormFloat64()))
		case 4:
			d.Set(key, fop.Str(randomText(r)))
		case 5:
			d.Set(key, fop.Bytes([]byte(randomText(r))))
		case 6:
			d.Set(key, fop.GFIDValue(fop.NewGFID()))
		case 7:
			d.Set(key, fop.IattValue(randomIatt(r, v)))
		case 8:
			d.Set(key, fop.MdataValue(fop.Mdata{Atime: fop.Time{Sec: int64(r.Uint64()), Nsec: r.Uint32()}, Ctime: fop.Time{Sec: 5}}))
		}
	}
	return d
}

// settle makes what random cannot know agree with the op.
func settle(op fop.Op, x any) {
	switch m := x.(type) {
	case *fop.ReaddirReply:
		if op == fop.OpReaddir {
			for i := range m.Entries {
				m.Entries[i].Stat, m.Entries[i].XData = fop.Iatt{}, nil
			}
		}
		m.EOF = true
	case *fop.ReadReply:
		m.EOF = true
	}
}

// TestRoundTrip sends random structs of all fops through both versions.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for op := fop.Op(1); op < fop.OpCount; op++ {
		if fop.NewRequest(op) == nil {
			continue
		}
		for _, v := range versions {
			for range 50 {
				req := fop.NewRequest(op)
				random(r, v, reflect.ValueOf(req).Elem())
				head, payload, err := AppendRequest(nil, v, req, FdRefs{A: 7, B: -2})
				if err != nil {
					t.Fatal(err)
				}
				got, fd, err := DecodeRequest(v, uint32(op), append(head, payload...))
				if err != nil {
					t.Fatalf("%v %d: %v", op, v, err)
				}
				if !reflect.DeepEqual(got, req) {
					t.Fatalf("%v %d:\ngot  %+v\nwant %+v", op, v, got, req)
				}
				if want := (FdRefs{7, -2, fd.N}); fd.N > 0 && fd != want && (fd.N == 2 || fd.A != 7) {
					t.Fatalf("%v: fds %+v", op, fd)
				}

				reply := fop.NewReply(op)
				random(r, v, reflect.ValueOf(reply).Elem())
				settle(op, reply)
				head, payload = AppendReply(nil, v, op, reply, nil)
				back, opErr, err := DecodeReply(v, op, append(head, payload...))
				if err != nil || opErr != nil {
					t.Fatalf("%v %d reply: %v, %v", op, v, opErr, err)
				}
				if !reflect.DeepEqual(back, reply) {
					t.Fatalf("%v %d reply:\ngot  %+v\nwant %+v", op, v, back, reply)
				}
			}
		}
	}
}

// TestFailures checks that a failed fop of any kind is a complete message.
func TestFailures(t *testing.T) {
	for op := fop.Op(1); op < fop.OpCount; op++ {
		if fop.NewRequest(op) == nil {
			continue
		}
		for _, v := range versions {
			head, _ := AppendReply(nil, v, op, nil, fmt.Errorf("no: %w", syscall.ENOSPC))
			reply, opErr, err := DecodeReply(v, op, head)
			if err != nil || opErr != syscall.ENOSPC || reply != nil {
				t.Errorf("%v %d: %v, %v, %v", op, v, reply, opErr, err)
			}
			why := fop.NewReply(op)
			why.ReplyHead().XData = fop.NewDict(fop.Pair{Key: "why", Val: fop.Str("x")})
			head, _ = AppendReply(nil, v, op, why, syscall.EIO)
			reply, opErr, err = DecodeReply(v, op, head)
			if err != nil || opErr != syscall.EIO || reply == nil || reply.ReplyHead().XData.Text("why") != "x" {
				t.Errorf("%v %d with xdata: %v, %v, %v", op, v, reply, opErr, err)
			}
		}
	}
	head, _ := AppendReply(nil, V400, fop.OpCreate, (*fop.CreateReply)(nil), syscall.EEXIST)
	if _, opErr, err := DecodeReply(V400, fop.OpCreate, head); opErr != syscall.EEXIST || err != nil {
		t.Errorf("nil pointer as a reply: %v, %v", opErr, err)
	}
	if _, _, err := DecodeRequest(V400, 49, nil); !errors.Is(err, ErrNoProc) {
		t.Error(err)
	}
	if _, _, err := AppendRequest(nil, V400, &fop.Disconnect{}, FdRefs{}); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Error(err)
	}
	full, _, _ := AppendRequest(nil, V400, &fop.Stat{}, FdRefs{})
	if _, _, err := DecodeRequest(V400, uint32(fop.OpStat), append(full, 0, 0, 0, 0)); err == nil {
		t.Error("bytes left over are accepted")
	}
	if _, _, err := DecodeRequest(V400, uint32(fop.OpStat), full[:len(full)-1]); err == nil {
		t.Error("a cut message is accepted")
	}
}

func TestDicts(t *testing.T) {
	for _, v := range versions {
		for _, d := range []*fop.Dict{nil, {}} {
			got, err := DecodeDict(v, AppendDict(nil, v, d))
			if err != nil || (got == nil) != (d == nil) {
				t.Errorf("version %d: %v became %v, %v", v, d, got, err)
			}
		}
	}
	if got, want := fmt.Sprintf("%x", AppendDict(nil, V400, nil)), "00000000ffffffff00000000"; got != want {
		t.Errorf("NULL is %s", got)
	}
	// The last of several values of a key wins, for few and for many pairs.
	for _, n := range []int{2, 100} {
		d := new(fop.Dict)
		for i := range n {
			d.Append("k", fop.Int(int64(i)))
		}
		for _, v := range versions {
			got, err := DecodeDict(v, AppendDict(nil, v, d))
			if err != nil || got.Len() != 1 || got.Int("k") != int64(n-1) {
				t.Errorf("version %d: %d pairs, %d, %v", v, got.Len(), got.Int("k"), err)
			}
		}
	}
	for _, bad := range []string{
		"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01" + "\x00\x00\x00\x02k\x00\x00\x00" + "\x00\x00\x00\x0a\x00\x00\x00\x00", // type 10
		"\x00\x00\x00\x00\x00\x00\x00\x01\x7f\xff\xff\xff",
	} {
		if _, err := DecodeDict(V400, []byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, bad := range []string{"\x00\x00\x00\x01", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00a", "\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xffk\x00"} {
		if _, err := DecodeOldDict([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestErrnos(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.ENOENT, syscall.EEXIST, syscall.ESTALE, syscall.ENOTCONN, syscall.ENODATA, syscall.ENOTSUP, syscall.EAGAIN} {
		if got := ErrnoFromWire(ErrnoToWire(e)); got != e {
			t.Errorf("%v comes back as %v", e, got)
		}
	}
	if ErrnoToWire(syscall.ESTALE) != 116 || ErrnoToWire(syscall.ENODATA) != 61 || ErrnoFromWire(0) != syscall.EIO || ErrnoFromWire(-5) != syscall.EIO {
		t.Error("wrong numbers")
	}
}

// TestAllocations holds the budget of the hot path.
func TestAllocations(t *testing.T) {
	buf := make([]byte, 0, 1024)
	write := &fop.Write{Data: make([]byte, 4096)}
	readReply, payload := AppendReply(nil, V400, fop.OpRead, &fop.ReadReply{Data: write.Data}, nil)
	writeReply, _ := AppendReply(nil, V400, fop.OpWrite, &fop.WriteReply{Size: 4096}, nil)
	for name, c := range map[string]struct {
		f   func()
		max float64
	}{
		"encode write": {func() { AppendRequest(buf, V400, write, FdRefs{}) }, 0},
		"decode read":  {func() { DecodeReadReply(V400, readReply, payload) }, 1},
		"decode write": {func() { DecodeReply(V400, fop.OpWrite, writeReply) }, 1},
	} {
		if n := testing.AllocsPerRun(100, c.f); n > c.max {
			t.Errorf("%s: %v allocations, want at most %v", name, n, c.max)
		}
	}
}

func FuzzRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for op := fop.Op(1); op < fop.OpCount; op++ {
		if req := fop.NewRequest(op); req != nil {
			random(r, V400, reflect.ValueOf(req).Elem())
			head, payload, _ := AppendRequest(nil, V400, req, FdRefs{})
			f.Add(true, uint32(op), append(head, payload...))
		}
	}
	f.Fuzz(func(t *testing.T, v400 bool, proc uint32, body []byte) {
		v := V330
		if v400 {
			v = V400
		}
		req, fd, err := DecodeRequest(v, proc, body)
		PayloadSplit(v, body)
		if err != nil {
			return
		}
		head, payload, err := AppendRequest(nil, v, req, fd)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := DecodeRequest(v, proc, append(head, payload...)); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
	})
}

func FuzzReply(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for op := fop.Op(1); op < fop.OpCount; op++ {
		if reply := fop.NewReply(op); reply != nil {
			random(r, V400, reflect.ValueOf(reply).Elem())
			head, payload := AppendReply(nil, V400, op, reply, nil)
			f.Add(true, uint32(op), append(head, payload...))
		}
	}
	f.Fuzz(func(t *testing.T, v400 bool, proc uint32, body []byte) {
		v := V330
		if v400 {
			v = V400
		}
		reply, opErr, err := DecodeReply(v, fop.Op(proc), body)
		ReadReplySplit(v, body)
		if err != nil {
			return
		}
		Aliases(reply)
		head, payload := AppendReply(nil, v, fop.Op(proc), reply, opErr)
		if _, _, err := DecodeReply(v, fop.Op(proc), append(head, payload...)); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
	})
}

// FuzzMessages tries every message outside of the fop program.
func FuzzMessages(f *testing.F) {
	f.Add(binary.BigEndian.AppendUint32(nil, 0))
	f.Add((&CacheInvalidation{GFID: fop.RootGFID.String()}).AppendXDR(nil))
	f.Add((&DumpReply{Programs: []Program{{"x", 1, 2}}}).AppendXDR(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range []plain{
			new(Status), new(NullReply), new(DumpRequest), new(DumpReply), new(SetvolumeRequest), new(SetvolumeReply), new(GetspecRequest),
			new(GetspecReply), new(SetLkVerRequest), new(SetLkVerReply), new(EventNotify), new(EventNotifyReply), new(DictRequest), new(DictReply),
			new(PortByBrickRequest), new(PortByBrickReply), new(BrickByPortRequest), new(BrickByPortReply), new(SigninRequest), new(SignoutRequest),
			new(CLIPeersRequest), new(CLIPeersReply), new(CLIGetwdRequest), new(CLIGetwdReply), new(CLIMountRequest), new(CLIMountReply),
			new(CLIUmountRequest), new(CLIFsmLogRequest), new(CLIFsmLogReply), new(BrickOpRequest), new(BrickOpReply), new(StatedumpCallback),
		} {
			if m.Decode(body) == nil {
				if err := m.Decode(m.AppendXDR(nil)); err != nil {
					t.Fatalf("%T: %v", m, err)
				}
			}
		}
		for proc := range uint32(13) {
			if u, err := DecodeCallback(proc, body); err == nil {
				if _, _, ok := AppendUpcall(nil, u); !ok {
					t.Fatalf("callback %d cannot be sent again", proc)
				}
			}
		}
	})
}

func BenchmarkLookupRequest(b *testing.B) {
	req := &fop.Lookup{Parent: fop.RootGFID, Name: "motd"}
	req.XData = fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())}, fop.Pair{Key: "glusterfs.content", Val: fop.Uint(65536)})
	buf := make([]byte, 0, 1024)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			AppendRequest(buf, V400, req, FdRefs{})
		}
	})
	body, _, _ := AppendRequest(nil, V400, req, FdRefs{})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			DecodeRequest(V400, uint32(fop.OpLookup), body)
		}
	})
}

func BenchmarkLookupReply(b *testing.B) {
	reply := &fop.LookupReply{Stat: fop.Iatt{GFID: fop.RootGFID}}
	buf := make([]byte, 0, 1024)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			AppendReply(buf, V400, fop.OpLookup, reply, nil)
		}
	})
	body, _ := AppendReply(nil, V400, fop.OpLookup, reply, nil)
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			DecodeReply(V400, fop.OpLookup, body)
		}
	})
}

func BenchmarkReadWrite4K(b *testing.B) {
	data := make([]byte, 4096)
	buf := make([]byte, 0, 1024)
	write := &fop.Write{Data: data}
	readReply, payload := AppendReply(nil, V400, fop.OpRead, &fop.ReadReply{Data: data}, nil)
	writeHead, writeData, _ := AppendRequest(nil, V400, write, FdRefs{})
	b.Run("encode-write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			AppendRequest(buf, V400, write, FdRefs{})
		}
	})
	b.Run("decode-write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			DecodeRequestPayload(V400, uint32(fop.OpWrite), writeHead, writeData)
		}
	})
	b.Run("decode-read-reply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			DecodeReadReply(V400, readReply, payload)
		}
	})
}
