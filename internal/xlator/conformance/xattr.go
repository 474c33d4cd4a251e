package conformance

import (
	"bytes"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

func (s *suite) setxattr(g fop.GFID, flags uint32, pairs ...fop.Pair) (*fop.CommonReply, error) {
	return fop.Call(s.ctx, s.h, &fop.Setxattr{Header: s.head(), GFID: g, Flags: flags, Dict: fop.NewDict(pairs...)})
}

func (s *suite) getxattr(g fop.GFID, name string) ([]byte, error) {
	r, err := fop.Call(s.ctx, s.h, &fop.Getxattr{Header: s.head(), GFID: g, Name: name})
	if err != nil {
		return nil, err
	}
	v, ok := r.Dict.Get(name)
	if !ok {
		return nil, nil
	}
	return append([]byte{}, v.Bytes()...), nil
}

func (s *suite) xattrIs(g fop.GFID, name string, want []byte) {
	s.Helper()
	got, err := s.getxattr(g, name)
	s.ok(err, "getxattr "+name)
	if !bytes.Equal(got, want) {
		s.Errorf("%s is %q, want %q", name, got, want)
	}
}

func pair(key string, val string) fop.Pair {
	return fop.Pair{Key: key, Val: fop.Bytes([]byte(val))}
}

func xattrCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	for _, g := range []fop.GFID{fd.GFID, s.mkdir(fop.RootGFID, "d")} {
		_, err := s.getxattr(g, "user.none")
		s.fails(err, "getxattr of nothing", syscall.ENODATA)
		_, err = s.setxattr(g, 0, pair("user.a", "one"), pair("trusted.b", "\x00\x01\xff"), pair("user.empty", ""))
		s.ok(err, "setxattr")
		s.xattrIs(g, "user.a", []byte("one"))
		s.xattrIs(g, "trusted.b", []byte("\x00\x01\xff"))
		s.xattrIs(g, "user.empty", []byte{})
		_, err = s.setxattr(g, 0, pair("user.a", "another"))
		s.ok(err, "setxattr again")
		s.xattrIs(g, "user.a", []byte("another"))

		r, err := fop.Call(s.ctx, s.h, &fop.Getxattr{Header: s.head(), GFID: g})
		s.ok(err, "list")
		for name, want := range map[string]string{"user.a": "another", "trusted.b": "\x00\x01\xff", "user.empty": ""} {
			if v, ok := r.Dict.Get(name); !ok || string(v.Bytes()) != want {
				s.Errorf("the list has %s as %q", name, v.Bytes())
			}
		}
		for _, p := range r.Dict.Pairs() {
			if p.Key == fop.XattrGFID || len(p.Key) > len(fop.XattrGFID2Path) && p.Key[:len(fop.XattrGFID2Path)] == fop.XattrGFID2Path {
				s.Errorf("the list shows %s", p.Key)
			}
		}
		_, err = fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(), GFID: g, Name: "user.a"})
		s.ok(err, "removexattr")
		_, err = s.getxattr(g, "user.a")
		s.fails(err, "getxattr of a removed one", syscall.ENODATA)
		_, err = fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(), GFID: g, Name: "user.a"})
		s.fails(err, "removexattr of nothing", syscall.ENODATA)
	}
	// The same through an open file.
	_, err := fop.Call(s.ctx, s.h, &fop.Fsetxattr{Header: s.head(), GFID: fd.GFID, Fd: fd, Dict: fop.NewDict(pair("user.fd", "v"))})
	s.ok(err, "fsetxattr")
	r, err := fop.Call(s.ctx, s.h, &fop.Fgetxattr{Header: s.head(), GFID: fd.GFID, Fd: fd, Name: "user.fd"})
	s.ok(err, "fgetxattr")
	if string(r.Dict.Bytes("user.fd")) != "v" || r.Size != 1 {
		s.Errorf("fgetxattr: %q, size %d", r.Dict.Bytes("user.fd"), r.Size)
	}
	_, err = fop.Call(s.ctx, s.h, &fop.Fremovexattr{Header: s.head(), GFID: fd.GFID, Fd: fd, Name: "user.fd"})
	s.ok(err, "fremovexattr")
	_, err = fop.Call(s.ctx, s.h, &fop.Fgetxattr{Header: s.head(), GFID: fd.GFID, Fd: fd, Name: "user.fd"})
	s.fails(err, "fgetxattr of a removed one", syscall.ENODATA)
}

func xattrFlagsCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "")
	_, err := s.setxattr(g, fop.XattrReplace, pair("user.a", "x"))
	s.fails(err, "replace of nothing", syscall.ENODATA)
	_, err = s.setxattr(g, fop.XattrCreate, pair("user.a", "1"))
	s.ok(err, "create")
	_, err = s.setxattr(g, fop.XattrCreate, pair("user.a", "2"))
	s.fails(err, "create of what exists", syscall.EEXIST)
	s.xattrIs(g, "user.a", []byte("1"))
	_, err = s.setxattr(g, fop.XattrReplace, pair("user.a", "3"))
	s.ok(err, "replace")
	s.xattrIs(g, "user.a", []byte("3"))
}

func xattrReservedCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "")
	if v, err := s.getxattr(g, fop.XattrGFID); err == nil && v != nil {
		s.Errorf("%s shows: %x", fop.XattrGFID, v)
	}
	other := fop.NewGFID()
	s.setxattr(g, 0, pair(fop.XattrGFID, string(other[:]))) // dropped or refused, as the layer likes
	if a := s.mustLookup(fop.RootGFID, "f"); a.GFID != g {
		s.Errorf("setxattr changed the gfid to %v", a.GFID)
	}
	_, err := fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(), GFID: g, Name: fop.XattrGFID})
	s.fails(err, "removexattr of the gfid", syscall.EPERM)
	_, err = s.getxattr(g, fop.XattrGFID2Path+"0123456789abcdef")
	s.fails(err, "getxattr of a back-pointer", syscall.ENODATA)
	_, err = s.setxattr(g, 0, pair(fop.XattrGFID2Path+"0123456789abcdef", "x"))
	s.fails(err, "setxattr of a back-pointer", syscall.ENOTSUP)
}

func xattrReplyCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "abc")
	set, err := s.setxattr(g, 0, pair("user.a", "1"))
	s.ok(err, "setxattr")
	rm, err := fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(), GFID: g, Name: "user.a"})
	s.ok(err, "removexattr")
	for what, x := range map[string]*fop.Dict{"setxattr": set.XData, "removexattr": rm.XData} {
		for _, key := range []string{fop.KeyIattInXattr, fop.KeyPreStat, fop.KeyPostStat} {
			v, _ := x.Get(key)
			if a, ok := v.Iatt(); !ok || a.GFID != g || a.Size != 3 {
				s.Errorf("%s answers %s with %+v", what, key, a)
			}
		}
	}
}

func removexattrBulkCase(s *suite) {
	g := s.touch(fop.RootGFID, "f", "")
	_, err := s.setxattr(g, 0, pair("user.a", "1"), pair("user.b", "2"), pair("user.c", "3"))
	s.ok(err, "setxattr")
	_, err = fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(pair("user.a", ""), pair("user.c", ""), pair("user.none", "")), GFID: g})
	s.ok(err, "removexattr of several")
	s.xattrIs(g, "user.b", []byte("2"))
	for _, name := range []string{"user.a", "user.c"} {
		_, err = s.getxattr(g, name)
		s.fails(err, "getxattr "+name, syscall.ENODATA)
	}
}

func xattropCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	g := fd.GFID
	const key = "trusted.afr.test-client-0"
	op := func(kind uint32, ask string) []byte {
		s.Helper()
		r, err := fop.Call(s.ctx, s.h, &fop.Xattrop{Header: s.head(), GFID: g, Kind: kind, Dict: fop.NewDict(pair(key, ask))})
		s.ok(err, "xattrop")
		v, ok := r.Dict.Get(key)
		if !ok {
			return nil
		}
		return append([]byte{}, v.Bytes()...)
	}
	is := func(got []byte, want string) {
		s.Helper()
		if string(got) != want {
			s.Errorf("xattrop gave %x, want %x", got, want)
		}
	}
	zero := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	is(op(fop.XattropAdd, zero), zero)
	_, err := s.getxattr(g, key)
	s.fails(err, "getxattr after adding nothing", syscall.ENODATA)
	is(op(fop.XattropAdd, "\x00\x00\x00\x01\x00\x00\x00\x02\xff\xff\xff\xff"), "\x00\x00\x00\x01\x00\x00\x00\x02\xff\xff\xff\xff")
	is(op(fop.XattropAdd, "\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00\x00\x01"), "\x00\x00\x00\x02"+zero[:8])
	is(op(fop.XattropAdd, zero), "\x00\x00\x00\x02"+zero[:8])
	s.xattrIs(g, key, []byte("\x00\x00\x00\x02"+zero[:8]))
	is(op(fop.XattropGetAndSet, "123456789abc"), "\x00\x00\x00\x02"+zero[:8])
	s.xattrIs(g, key, []byte("123456789abc"))
	_, err = fop.Call(s.ctx, s.h, &fop.Removexattr{Header: s.head(), GFID: g, Name: key})
	s.ok(err, "removexattr")
	if got := op(fop.XattropGetAndSet, "\x00\x00\x00\x00\x00\x00\x00\x05"); got != nil {
		s.Errorf("get-and-set of nothing gave %x", got)
	}
	is(op(fop.XattropAdd64, "\x00\x00\x00\x00\x00\x00\x00\xff"), "\x00\x00\x00\x00\x00\x00\x01\x04")

	r, err := fop.Call(s.ctx, s.h, &fop.Fxattrop{Header: s.head(), GFID: g, Fd: fd, Kind: fop.XattropAdd64, Dict: fop.NewDict(pair(key, "\x00\x00\x00\x00\x00\x00\x00\x01"))})
	s.ok(err, "fxattrop")
	is(r.Dict.Bytes(key), "\x00\x00\x00\x00\x00\x00\x01\x05")
	// Deltas and then defaults, which count where nothing is stored yet.
	const fresh = "trusted.afr.test-client-1"
	ask := "\x00\x00\x00\x01\x00\x00\x00\x02" + "\x00\x00\x00\x0a\x00\x00\x00\x14"
	for i, want := range []string{"\x00\x00\x00\x0b\x00\x00\x00\x16", "\x00\x00\x00\x0c\x00\x00\x00\x18"} {
		x, err := fop.Call(s.ctx, s.h, &fop.Xattrop{Header: s.head(), GFID: g, Kind: fop.XattropAddDefault, Dict: fop.NewDict(pair(fresh, ask))})
		s.ok(err, "xattrop with defaults")
		if got := x.Dict.Bytes(fresh); string(got) != want {
			s.Errorf("round %d with defaults gave %x, want %x", i, got, want)
		}
	}
}

func lookupXDataCase(s *suite) {
	fd := s.create(fop.RootGFID, "f")
	g := fd.GFID
	s.write(fd, 0, "contents")
	_, err := s.setxattr(g, 0, pair("user.one", "1"), pair("user.two", "2"), pair("trusted.some.state", "0123456789abcdef"))
	s.ok(err, "setxattr")
	ask := func(pairs ...fop.Pair) *fop.Dict {
		s.Helper()
		r, err := fop.Call(s.ctx, s.h, &fop.Lookup{Header: s.head(pairs...), Parent: fop.RootGFID, Name: "f"})
		s.ok(err, "lookup")
		return r.XData
	}
	num := func(key string, n uint64) fop.Pair { return fop.Pair{Key: key, Val: fop.Uint(n)} }
	x := ask(num("trusted.some.state", 16), num("user.none", 0), num(fop.KeyContent, 8))
	if string(x.Bytes("trusted.some.state")) != "0123456789abcdef" || x.Has("user.none") || x.Has("user.one") {
		s.Errorf("asked for one xattr, got %v", x.Pairs())
	}
	if v, ok := x.Get(fop.KeyContent); !ok || string(v.Bytes()) != "contents" {
		s.Errorf("%s: %q", fop.KeyContent, v.Bytes())
	}
	if x := ask(num(fop.KeyContent, 7)); x.Has(fop.KeyContent) {
		s.Error("a file larger than asked came with its contents")
	}
	x = ask(num("user.*", 0))
	if x.Text("user.one") != "1" || x.Text("user.two") != "2" {
		s.Errorf("asked for user.*, got %v", x.Pairs())
	}
	x = ask(num(fop.KeyListXattr, 1))
	if x.Text("user.one") != "1" || x.Text("user.two") != "2" || x.Has(fop.XattrGFID) {
		s.Errorf("asked for all, got %v", x.Pairs())
	}
	st, err := fop.Call(s.ctx, s.h, &fop.Stat{Header: s.head(num("user.one", 0)), GFID: g})
	s.ok(err, "stat")
	if st.XData.Text("user.one") != "1" {
		s.Errorf("stat answers %v", st.XData.Pairs())
	}
}

func createXattrsCase(s *suite) {
	g := fop.NewGFID()
	fd := &fop.Fd{GFID: g, Flags: fop.ORdwr}
	_, err := fop.Call(s.ctx, s.h, &fop.Create{Header: s.newHead(g, pair("trusted.ec.config", "12345678")), Parent: fop.RootGFID, Name: "f", Flags: fop.ORdwr | fop.OCreate, Mode: 0o644, Fd: fd})
	s.ok(err, "create")
	s.open = append(s.open, fd)
	s.xattrIs(g, "trusted.ec.config", []byte("12345678"))
	d := fop.NewGFID()
	_, err = fop.Call(s.ctx, s.h, &fop.Mkdir{Header: s.newHead(d, pair("trusted.glusterfs.test", "0123456789abcdef")), Parent: fop.RootGFID, Name: "d", Mode: 0o755})
	s.ok(err, "mkdir")
	s.xattrIs(d, "trusted.glusterfs.test", []byte("0123456789abcdef"))
}
