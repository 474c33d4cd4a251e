package fop

import "testing"

// TestTargetAndXData runs over all requests: a fop that somebody adds must be
// known to WithXData.
func TestTargetAndXData(t *testing.T) {
	d := NewDict(Pair{"k", Int(1)})
	for o := Op(1); o <= OpDisconnect; o++ {
		req := NewRequest(o)
		if req == nil {
			continue
		}
		q := WithXData(req, d)
		if q == req || q.Op() != o || q.Head().XData != d || req.Head().XData != nil {
			t.Errorf("%v: WithXData does not copy", o)
		}
	}
	g, h := GFID{1}, GFID{2}
	fd := &Fd{GFID: g}
	for _, c := range []struct {
		req  Request
		gfid GFID
		fd   *Fd
	}{
		{&Lookup{GFID: g}, g, nil},
		{&Lookup{Parent: h, Name: "x"}, h, nil},
		{&Link{GFID: g, Parent: h, Name: "x"}, h, nil},
		{&Rename{OldParent: g, NewParent: h}, g, nil},
		{&Write{GFID: g, Fd: fd}, g, fd},
		{&Open{GFID: g, Fd: fd}, g, nil},
		{&Create{Parent: h, Fd: fd}, h, nil},
		{&Disconnect{}, GFID{}, nil},
	} {
		if gfid, f := Target(c.req); gfid != c.gfid || f != c.fd {
			t.Errorf("%v: %v %v", c.req.Op(), gfid, f)
		}
	}
}
