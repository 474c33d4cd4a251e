package server

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xdr"
	"github.com/wythefs/wythe/internal/xlator"
)

// TestSetvolume holds SETVOLUME to the errnos and texts of GlusterFS 10.3, and
// to its order: each row fails in all that comes after, too.
func TestSetvolume(t *testing.T) {
	const id = "8ce336f6-94d2-4181-a3bb-d33f3e12a289"
	login := xlator.Options{
		"auth.login." + brickName + ".allow": "user1,user2", "auth.login.user1.password": "secret",
		"auth.addr." + brickName + ".allow": "10.*",
	}
	for _, tc := range []struct {
		name  string
		opt   xlator.Options
		dict  *fop.Dict
		errno syscall.Errno
		text  string
	}{
		{"fine", nil, hello("a"), 0, "Success"},
		{"empty dictionary", nil, &fop.Dict{}, syscall.EINVAL, "No remote-subvolume option specified"},
		{"no brick name, and nothing else", nil, hello("", "remote-subvolume", "-", "process-uuid", "-", "fops-version", "-"), syscall.EINVAL, "No remote-subvolume option specified"},
		{"no uuid, wrong volume", nil, hello("a", "process-uuid", "-", "volume-id", "x"), syscall.EINVAL, "UUID not specified"},
		{"wrong volume and version", nil, hello("a", "volume-id", "5d37e05e-9d63-4651-97f6-b566fb83ea35", "fops-version", "1"), syscall.EINVAL, "Volume-ID different, possible case of same brick re-used in another volume"},
		{"right volume", nil, hello("a", "volume-id", id), 0, "Success"},
		{"wrong version, unknown brick", nil, hello("a", "fops-version", "7", "remote-subvolume", "/x"), syscall.EINVAL, "version mismatch: client(7) - client-mgmt(0)"},
		{"no version", nil, hello("a", "fops-version", "-"), syscall.EINVAL, "version mismatch: client(0) - client-mgmt(0)"},
		{"unknown brick", nil, hello("a", "remote-subvolume", "/x"), syscall.ENOENT, "Brick not found"},
		{"address not allowed", xlator.Options{"auth.addr." + brickName + ".allow": "10.*"}, hello("a"), syscall.EACCES, "Authentication failed"},
		{"address rejected", xlator.Options{"auth.addr." + brickName + ".reject": "127.0.0.1"}, hello("a"), syscall.EACCES, "Authentication failed"},
		{"password", login, hello("a", "username", "user1", "password", "secret"), 0, "Success"},
		{"wrong password", login, hello("a", "username", "user1", "password", "Secret"), syscall.EACCES, "Authentication failed"},
		{"user without password", login, hello("a", "username", "user2", "password", "secret"), syscall.EACCES, "Authentication failed"},
		{"missing subdirectory", nil, hello("a", "subdir-mount", "/none/x"), syscall.ENOENT, `subdirectory for mount "/none/x" is not found`},
		{"root as subdirectory", nil, hello("a", "subdir-mount", "/"), 0, "Success"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, tc.opt).dial()
			r := w.setvolume(tc.dict)
			ret := int32(0)
			if tc.errno != 0 {
				ret = -1
			}
			if r.Ret != ret || r.Errno != int32(tc.errno) || r.Dict.Text("ERROR") != tc.text {
				t.Errorf("got %d, errno %d, %q; want %d, %d, %q", r.Ret, r.Errno, r.Dict.Text("ERROR"), ret, int32(tc.errno), tc.text)
			}
			if tc.errno == 0 {
				for key, want := range map[string]string{"process-uuid": "server-uuid", "volume-id": id, "child_up": "1", "clnt-lk-version": "0"} {
					if got := r.Dict.Text(key); got != want {
						t.Errorf("%s = %q, want %q", key, got, want)
					}
				}
				if !r.Dict.Has("transport-ptr") {
					t.Error("no transport-ptr")
				}
				return
			}
			// The connection stays, and can do no fops.
			if _, err := w.fop(&fop.Stat{GFID: fop.RootGFID}); !isReply(err, rpc.GarbageArgs) {
				t.Errorf("a fop after the refusal: %v", err)
			}
		})
	}
}

func isReply(err error, want rpc.AcceptStat) bool {
	var e *rpc.ReplyError
	return errors.As(err, &e) && !e.Denied && e.Accept == want
}

// TestUpAndDown: a brick that is down refuses with EAGAIN; clients hear when it
// goes and comes.
func TestUpAndDown(t *testing.T) {
	f := newFixture(t, nil)
	w := f.client("a")
	f.ChildEvent(brickName, fop.Event{Kind: fop.EventChildDown})
	if cb := <-w.upcall; cb.Prog != proto.ProgCallback || cb.Proc != proto.CallbackChildDown {
		t.Errorf("callback %+v", cb)
	}
	r := f.dial().setvolume(hello("b"))
	if r.Errno != int32(syscall.EAGAIN) || r.Dict.Text("ERROR") != "Not received child_up for this xlator" || r.Dict.Text("child_up") != "0" {
		t.Errorf("%d %v", r.Errno, r.Dict.Pairs())
	}
	f.ChildEvent(brickName, fop.Event{Kind: fop.EventChildUp})
	if cb := <-w.upcall; cb.Proc != proto.CallbackChildUp {
		t.Errorf("callback %+v", cb)
	}
	f.client("c")
}

func TestPrograms(t *testing.T) {
	w := newFixture(t, nil).dial()
	call := func(prog, vers, proc uint32, args rpc.Appender) ([]byte, error) {
		rep, err := w.Call(t.Context(), &rpc.Request{Prog: prog, Vers: vers, Proc: proc, Args: args})
		return rep.Body, err
	}
	body, err := call(proto.ProgDump, proto.VersDump, proto.DumpDump, &proto.DumpRequest{ID: 0xcaed})
	var dump proto.DumpReply
	if err != nil || dump.Decode(body) != nil {
		t.Fatal(err)
	}
	want := []proto.Program{
		{Name: "GlusterFS 4.x v1", Prog: 1298437, Vers: 400}, {Name: "GlusterFS 3.3", Prog: 1298437, Vers: 330},
		{Name: "GF-DUMP", Prog: 123451501, Vers: 1}, {Name: "GlusterFS Handshake", Prog: 14398633, Vers: 2},
	}
	for i, p := range dump.Programs {
		if i >= len(want) || p != want[i] {
			t.Errorf("program %d: %+v", i, p)
		}
	}
	if body, err := call(proto.ProgHandshake, 2, proto.HandshakePing, nil); err != nil || len(body) != 12 {
		t.Errorf("PING: %x %v", body, err)
	}
	body, err = call(proto.ProgHandshake, 2, proto.HandshakeSetLkVer, &proto.SetLkVerRequest{UID: "u", LkVer: 7})
	var lk proto.SetLkVerReply
	if err != nil || lk.Decode(body) != nil || lk.LkVer != 7 || lk.Ret != 0 {
		t.Errorf("SET_LK_VER: %+v %v", lk, err)
	}
	body, err = call(proto.ProgHandshake, 2, proto.HandshakeGetspec, &proto.GetspecRequest{Key: "v"})
	var spec proto.GetspecReply
	if err != nil || spec.Decode(body) != nil || spec.Ret != -1 || spec.Errno != int32(syscall.ENOSYS) || spec.Spec == "" {
		t.Errorf("GETSPEC: %+v %v", spec, err)
	}
	// What is not there, and what does not decode.
	for _, tc := range []struct {
		what             string
		prog, vers, proc uint32
		args             []byte
		want             rpc.AcceptStat
	}{
		{"program", 4711, 1, 0, nil, rpc.ProgUnavail},
		{"version", proto.ProgFop, 310, 1, nil, rpc.ProgMismatch},
		{"procedure", proto.ProgFop, 400, 57, nil, rpc.ProcUnavail},
		{"PUT", proto.ProgFop, 400, 55, nil, rpc.ProcUnavail},
		{"COMPOUND", proto.ProgFop, 400, 49, nil, rpc.GarbageArgs},
		{"SETVOLUME", proto.ProgHandshake, 2, 1, []byte{0, 0, 0, 9}, rpc.GarbageArgs},
		{"a fop before SETVOLUME", proto.ProgFop, 400, uint32(fop.OpStat), make([]byte, 28), rpc.GarbageArgs},
	} {
		if _, err := call(tc.prog, tc.vers, tc.proc, rpc.Raw(tc.args)); !isReply(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, err, tc.want)
		}
	}
	// An undecodable dictionary is an answer, not garbage.
	body, err = call(proto.ProgHandshake, 2, 1, rpc.Raw(xdr.AppendOpaque(nil, []byte{0, 0, 0, 9, 1, 2})))
	var sv proto.SetvolumeReply
	if err != nil || sv.Decode(body) != nil || sv.Ret != -1 || sv.Errno != int32(syscall.EINVAL) || sv.Dict.Text("ERROR") == "" {
		t.Errorf("SETVOLUME with a bad dictionary: %+v %v", sv, err)
	}
}

// TestPrivilegedPort: with insecure ports off an unprivileged peer is denied
// even the list of programs.
func TestPrivilegedPort(t *testing.T) {
	w := newFixture(t, xlator.Options{"rpc-auth-allow-insecure": "off"}).dial()
	_, err := w.Call(t.Context(), &rpc.Request{Prog: proto.ProgDump, Vers: 1, Proc: proto.DumpDump, Args: &proto.DumpRequest{}})
	var e *rpc.ReplyError
	if !errors.As(err, &e) || !e.Denied || e.Auth != rpc.AuthRejectedCred {
		t.Errorf("%v", err)
	}
}

// TestDynamicAuth: who is no longer allowed is disconnected, others are not.
func TestDynamicAuth(t *testing.T) {
	f := newFixture(t, xlator.Options{"auth.login." + brickName + ".allow": "u", "auth.login.u.password": "p"})
	plain, trusted := f.client("a"), f.client("b", "username", "u", "password", "p")
	opt := xlator.Options{}
	for k, v := range f.conf.Load().opt {
		opt[k] = v
	}
	opt["auth.addr."+brickName+".allow"] = "10.0.0.1"
	off := xlator.Options{}
	for k, v := range opt {
		off[k] = v
	}
	off["dynamic-auth"] = "off"
	if err := f.Reconfigure(off); err != nil {
		t.Fatal(err)
	}
	if _, err := plain.fop(&fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Errorf("dynamic-auth off: %v", err)
	}
	if err := f.Reconfigure(opt); err != nil {
		t.Fatal(err)
	}
	<-plain.Done()
	if _, err := trusted.fop(&fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Errorf("the trusted client: %v", err)
	}
	if r := f.dial().setvolume(hello("c")); r.Errno != int32(syscall.EACCES) {
		t.Errorf("a new client: %d", r.Errno)
	}
}
