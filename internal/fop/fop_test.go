package fop

import (
	"context"
	"errors"
	"syscall"
	"testing"
)

func TestCallTiesReplyToRequest(t *testing.T) {
	h := HandlerFunc(func(_ context.Context, req Request) (Reply, error) {
		if req.Op() == OpStat {
			return &CommonReply{}, nil
		}
		return NewReply(req.Op()), nil
	})
	var lr *LookupReply
	lr, err := Call(context.Background(), h, &Lookup{Name: "x"})
	if err != nil || lr == nil {
		t.Fatalf("Call = %v, %v", lr, err)
	}
	if _, err := Call(context.Background(), h, &Stat{}); Errno(err) != syscall.EPROTO {
		t.Errorf("a reply of the wrong type gave %v, want EPROTO", err)
	}
}

func TestEveryOpHasRequestAndReply(t *testing.T) {
	for o := Op(1); o < OpCount; o++ {
		req := NewRequest(o)
		if req == nil {
			if o != 49 {
				t.Errorf("%v has no request", o)
			}
			continue
		}
		if req.Op() != o {
			t.Errorf("NewRequest(%v).Op() = %v", o, req.Op())
		}
		if NewReply(o) == nil {
			t.Errorf("%v has no reply", o)
		}
	}
}

func TestGFIDText(t *testing.T) {
	const s = "127e55bc-decd-48c0-9d90-41cd63453855"
	g, err := ParseGFID(s)
	if err != nil || g.String() != s || g.Ino() != 11353647010990602325 {
		t.Errorf("ParseGFID(%q) = %v, %v, ino %d", s, g, err, g.Ino())
	}
	for _, bad := range []string{"", s[:35], s + "0", "127e55bc+decd-48c0-9d90-41cd63453855", "g27e55bc-decd-48c0-9d90-41cd63453855"} {
		if _, err := ParseGFID(bad); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("ParseGFID(%q) = %v, want EINVAL", bad, err)
		}
	}
}

func TestDictOfNil(t *testing.T) {
	var d *Dict
	if d.Len() != 0 || d.Has("x") || d.Int("x") != 0 || d.Text("x") != "" || !d.Equal(NewDict()) {
		t.Error("the NULL dictionary does not read as empty")
	}
	e := d.With("a", Int(1)).With("b", Str("yes"))
	if e.Len() != 2 || e.Int("a") != 1 || !e.Bool("b") || e.Text("b") != "yes" || string(e.Bytes("b")) != "yes\x00" {
		t.Errorf("With gave %+v", e)
	}
}

func TestMdataRoundTrip(t *testing.T) {
	m := Mdata{Time{1, 2}, Time{3, 4}, Time{-5, 6}}
	got, ok := ParseMdata(AppendMdata(nil, m))
	if !ok || got != m {
		t.Errorf("ParseMdata(AppendMdata(%v)) = %v, %v", m, got, ok)
	}
}

func TestSlots(t *testing.T) {
	var s Slots
	k1, k2 := new(int), new(int)
	s.Set(k1, "one")
	s.Set(k2, "two")
	if s.Get(k1) != "one" || s.Get(k2) != "two" || s.Set(k1, nil) != "one" || s.Get(k1) != nil {
		t.Error("slots mixed up")
	}
	if s.GetOrSet(k1, func() any { return "again" }) != "again" {
		t.Error("GetOrSet did not set")
	}
}

// What is no identity is refused; what is one reads as it was written.
func FuzzParseGFID(f *testing.F) {
	f.Add("00000000-0000-0000-0000-000000000001")
	f.Add("c68e2ccf-b7ec-4251-b944-9adb66b1620e")
	f.Add("c68e2ccfb7ec4251b9449adb66b1620e")
	f.Add("-")
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGFID(s)
		if err != nil {
			return
		}
		if again, err := ParseGFID(g.String()); err != nil || again != g {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, g, again, err)
		}
	})
}

func FuzzParseMdata(f *testing.F) {
	f.Add(AppendMdata(nil, Mdata{Time{1, 2}, Time{3, 4}, Time{-5, 6}}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := ParseMdata(b)
		if !ok {
			return
		}
		if again, ok := ParseMdata(AppendMdata(nil, m)); !ok || again != m {
			t.Errorf("%x reads as %v, which reads as %v, %v", b, m, again, ok)
		}
	})
}
