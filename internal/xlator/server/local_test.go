package server

import (
	"slices"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

// TestShutdownEndsLocalClients: what a client in this process holds goes with
// the server, and a Close of the client afterwards is fine.
func TestShutdownEndsLocalClients(t *testing.T) {
	f := newFixture(t, nil)
	h, _ := f.Local(brickName, "x")
	fd := &fop.Fd{GFID: fop.RootGFID, Dir: true}
	if _, err := h.Do(t.Context(), &fop.Opendir{GFID: fop.RootGFID, Fd: fd}); err != nil {
		t.Fatal(err)
	}
	if fd.From != nil {
		t.Error("the client's own Fd was changed")
	}
	f.disk.forget()
	if err := f.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ops := f.disk.ops(); !slices.Equal(ops, []fop.Op{fop.OpReleasedir, fop.OpDisconnect}) {
		t.Errorf("the brick saw %v", ops)
	}
	if _, err := h.Do(t.Context(), &fop.Stat{GFID: fop.RootGFID}); err != syscall.ENOTCONN {
		t.Errorf("a fop after the end: %v", err)
	}
	h.Close()
	h.Close()
}

// TestLocalClient: two clients of one brick have files, locks and notices of
// their own.
func TestLocalClient(t *testing.T) {
	f := newFixture(t, nil)
	a, _ := f.Local(brickName, "a")
	b, _ := f.Local(brickName, "b")
	defer b.Close()
	if _, ok := f.Local("/none", "a"); ok {
		t.Error("a client of a brick that is not there")
	}
	heard := make(chan *fop.Upcall, 1)
	a.OnUpcall(func(u *fop.Upcall) { heard <- u })
	g := fop.NewGFID()
	fa, fb := &fop.Fd{Flags: fop.ORdwr}, &fop.Fd{GFID: g, Flags: fop.ORdwr}
	x := fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(g)})}
	ctx := t.Context()
	if _, err := a.Do(ctx, &fop.Create{Header: x, Parent: fop.RootGFID, Name: "f", Mode: 0o600, Flags: fop.ORdwr, Fd: fa}); err != nil {
		t.Fatal(err)
	}
	f.disk.last().Head().From.Upcall(&fop.Upcall{Kind: fop.UpcallChildDown})
	if u := <-heard; u.Kind != fop.UpcallChildDown {
		t.Errorf("%+v", u)
	}
	if _, err := b.Do(ctx, &fop.Flush{GFID: g, Fd: fa}); err != syscall.EBADF {
		t.Errorf("with the other client's Fd: %v", err)
	}
	if _, err := b.Do(ctx, &fop.Open{GFID: g, Flags: fop.ORdwr, Fd: fb}); err != nil {
		t.Fatal(err)
	}
	lock := func(h fop.Handler, fd *fop.Fd, cmd uint32) error {
		_, err := h.Do(ctx, &fop.Finodelk{Header: fop.Header{Cred: fop.Cred{PID: 7}}, GFID: g, Fd: fd, Cmd: cmd, Type: fop.LockWrite, Domain: "d"})
		return err
	}
	if err := lock(a, fa, fop.LkSet); err != nil {
		t.Fatal(err)
	}
	if err := lock(b, fb, fop.LkSet); err != syscall.EAGAIN {
		t.Errorf("lock of the other: %v", err)
	}
	granted := make(chan error, 1)
	go func() { granted <- lock(b, fb, fop.LkSetWait) }()
	a.Close()
	if err := <-granted; err != nil {
		t.Errorf("the lock that was waited for: %v", err)
	}
}
