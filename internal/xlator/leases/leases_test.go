package leases

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var on = xlator.Options{"leases": "on", "lease-lock-recall-timeout": "60"}

func newLeases(t *testing.T, child fop.Handler, o xlator.Options) *Leases {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*Leases)
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) fop.Handler { return newLeases(t, mem.NewFS(nil), on) },
		conformance.Options{Locks: true, Devices: true})
}

var (
	name = fop.GFID{1, 15: 9}
	idA  = [16]byte{1}
	idB  = [16]byte{2}
)

func head(c *fop.Client, id [16]byte) fop.Header {
	h := fop.Header{From: c, Cred: fop.Cred{PID: 7}}
	if id != ([16]byte{}) {
		h.XData = fop.NewDict(fop.Pair{Key: keyLeaseID, Val: fop.Bytes(id[:])})
	}
	return h
}

func nop(_ context.Context, req fop.Request) (fop.Reply, error) {
	if l, ok := req.(*fop.Lookup); ok && l.Name != "" {
		return &fop.LookupReply{Stat: fop.Iatt{GFID: name}}, nil
	}
	return fop.NewReply(req.Op()), nil
}

func lease(c *fop.Client, id [16]byte, cmd, typ uint32) *fop.Lease {
	return &fop.Lease{Header: head(c, id), GFID: name, Lease: fop.LeaseInfo{Cmd: cmd, Type: typ, ID: id}}
}

func TestGrants(t *testing.T) {
	a, b := &fop.Client{ID: "a"}, &fop.Client{ID: "b"}
	l := newLeases(t, fop.HandlerFunc(nop), on)
	for i, c := range []struct {
		req  fop.Request
		want syscall.Errno
	}{
		{lease(a, [16]byte{}, setLease, readLease), syscall.EINVAL},
		{lease(a, idA, setLease, 7), syscall.EINVAL},
		{lease(a, idA, 9, readLease), syscall.EINVAL},
		{lease(a, idA, unlockLease, 0), syscall.EINVAL},
		{lease(a, idA, setLease, readLease), 0},
		{lease(b, idB, setLease, readLease), 0},
		{lease(b, idB, setLease, writeLease), syscall.EAGAIN},
		{lease(a, idA, unlockLease, 0), 0},
		{lease(b, idB, setLease, writeLease), 0},
		{lease(a, idA, setLease, readLease), syscall.EAGAIN},
		{&fop.Disconnect{Header: fop.Header{From: b}}, 0},
		{&fop.Open{Header: head(b, idB), GFID: name, Flags: fop.OWronly, Fd: &fop.Fd{GFID: name}}, 0},
		{lease(a, idA, setLease, readLease), syscall.EAGAIN},
		{&fop.Disconnect{Header: fop.Header{From: b}}, 0},
		{lease(a, idA, setLease, writeLease), 0},
		{&fop.Disconnect{Header: fop.Header{From: a}}, 0},
	} {
		if _, err := l.Do(t.Context(), c.req); fop.Errno(err) != c.want {
			t.Errorf("step %d: %v, want %v", i, err, c.want)
		}
	}
	if len(l.files) != 0 {
		t.Error("state was left behind")
	}
	off := newLeases(t, fop.HandlerFunc(func(context.Context, fop.Request) (fop.Reply, error) { return nil, syscall.ENOSYS }), nil)
	if _, err := off.Do(t.Context(), lease(a, idA, setLease, readLease)); fop.Errno(err) != syscall.ENOSYS {
		t.Errorf("off: %v", err)
	}
}

// TestRecall: who is in conflict with a lease, what ends the wait, and how long it
// took.
func TestRecall(t *testing.T) {
	for _, c := range []struct {
		what     string
		typ      uint32
		req      fop.Request
		id       [16]byte
		giveBack bool
		want     syscall.Errno
		waits    time.Duration
		recalls  int
	}{
		{"reader and read lease", readLease, &fop.Open{Fd: &fop.Fd{}}, idB, false, 0, 0, 0},
		{"reader without an id", readLease, &fop.Open{Fd: &fop.Fd{}}, [16]byte{}, false, 0, 60 * time.Second, 1},
		{"writer and read lease", readLease, &fop.Open{Flags: fop.ORdwr, Fd: &fop.Fd{}}, idB, false, 0, 60 * time.Second, 1},
		{"reader and write lease", writeLease, &fop.Read{}, idB, true, 0, 5 * time.Second, 1},
		{"its own", writeLease, &fop.Write{}, idA, false, 0, 0, 0},
		{"unlink, its own", readLease, &fop.Unlink{Parent: fop.RootGFID, Name: "f"}, idA, true, 0, 5 * time.Second, 1},
		{"rename", readLease, &fop.Rename{OldParent: fop.RootGFID, OldName: "f"}, idB, true, 0, 5 * time.Second, 1},
		{"open without waiting", writeLease, &fop.Open{Flags: fop.ONonblock, Fd: &fop.Fd{}}, idB, false, syscall.EINVAL, 0, 1},
		{"write without waiting", readLease, &fop.Write{Fd: &fop.Fd{GFID: name, Flags: fop.ONonblock}}, idB, false, syscall.EAGAIN, 0, 1},
		{"stat", writeLease, &fop.Stat{}, idB, false, 0, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLeases(t, fop.HandlerFunc(nop), on)
			recalls := 0
			a := &fop.Client{ID: "a", Upcall: func(u *fop.Upcall) {
				if u.Kind == fop.UpcallRecallLease && u.GFID == name && u.LeaseType == 0 {
					recalls++
				}
			}}
			if _, err := l.Do(t.Context(), lease(a, idA, setLease, c.typ)); err != nil {
				t.Fatal(err)
			}
			*c.req.Head() = head(&fop.Client{ID: "b"}, c.id)
			switch r := c.req.(type) {
			case *fop.Open:
				r.GFID = name
			case *fop.Read:
				r.GFID = name
			case *fop.Write:
				r.GFID = name
			case *fop.Stat:
				r.GFID = name
			}
			if c.giveBack {
				time.AfterFunc(5*time.Second, func() { l.Do(context.Background(), lease(a, idA, unlockLease, 0)) })
			}
			start := time.Now()
			_, err := l.Do(t.Context(), c.req)
			if d := time.Since(start); fop.Errno(err) != c.want || d != c.waits || recalls != c.recalls {
				t.Errorf("%s: %v after %v and %d recalls", c.what, err, d, recalls)
			}
			c.req.Head().Cred.PID = fop.PIDSelfHeal
			if _, err := l.Do(t.Context(), c.req); err != nil {
				t.Errorf("%s by a daemon: %v", c.what, err)
			}
		})
	}
}
