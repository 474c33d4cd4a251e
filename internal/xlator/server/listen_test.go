package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// listening makes a server that listens by its options.
func listening(t *testing.T, opt xlator.Options) (*fixture, error) {
	t.Helper()
	all := xlator.Options{"auth.addr." + brickName + ".allow": "*"}
	for k, v := range opt {
		all[k] = v
	}
	h, err := New(xlator.Config{Name: "server", Options: all, Log: quiet, Notify: func(fop.Event) {},
		Children: []xlator.Child{{Name: brickName, Handler: mem.NewFS(nil)}}, Env: &xlator.Env{}})
	if err != nil {
		return nil, err
	}
	f := &fixture{Server: h.(*Server), t: t}
	f.addr = f.Listeners()[0].String()
	done := make(chan error, 1)
	go func() { done <- f.Run(context.Background()) }()
	t.Cleanup(func() {
		f.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return f, nil
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	// What a killed process leaves is in nobody's way.
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	for _, tc := range []struct {
		network string
		opt     xlator.Options
	}{
		{"tcp4", xlator.Options{"transport.socket.listen-port": "0", "transport.socket.bind-address": "127.0.0.1"}},
		{"tcp6", xlator.Options{"listen-port": "0", "transport.address-family": "inet6", "transport.socket.bind-address": "::1"}},
		{"unix", xlator.Options{"transport.address-family": "unix", "transport.socket.listen-path": path}},
	} {
		t.Run(tc.network, func(t *testing.T) {
			f, err := listening(t, tc.opt)
			if err != nil {
				t.Fatal(err)
			}
			opts := rpc.DialOptions{Network: tc.network, Address: f.addr}
			opts.Log = quiet
			c, err := rpc.Dial(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			w := &wire{Client: c, t: t, cred: rpc.Cred{Flavor: rpc.AuthGlusterV2}}
			if r := w.setvolume(hello("a")); r.Ret != 0 {
				t.Fatalf("%+v", r)
			}
			if _, err := w.fop(&fop.Stat{GFID: fop.RootGFID}); err != nil {
				t.Error(err)
			}
			if tc.network == "unix" {
				if _, err := listening(t, tc.opt); fop.Errno(err) != syscall.EADDRINUSE {
					t.Errorf("a second server on the same path: %v", err)
				}
			}
		})
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if _, err := listening(t, xlator.Options{"listen-port": port, "bind-address": "127.0.0.1"}); fop.Errno(err) != syscall.EADDRINUSE {
		t.Errorf("port taken: %v", err)
	}
}

// certificates makes an authority and a certificate per name, and returns the
// options that name its files.
func certificates(t *testing.T, names ...string) map[string]xlator.Options {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := func(serial int64, name string, ca bool) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	}
	ca := template(1, "authority", true)
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	caFile := write("ca", "CERTIFICATE", der)
	all := map[string]xlator.Options{}
	for i, name := range names {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template(int64(i+2), name, false), ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = xlator.Options{"transport.socket.ssl-own-cert": write(name+".pem", "CERTIFICATE", der),
			"transport.socket.ssl-private-key": write(name+".key", "PRIVATE KEY", private), "transport.socket.ssl-ca-list": caFile}
	}
	return all
}

// TestTLS: the name in the certificate decides, whatever password comes along.
func TestTLS(t *testing.T) {
	certs := certificates(t, "brick", "alice", "eve")
	opt := certs["brick"]
	for k, v := range map[string]string{
		"transport.socket.ssl-enabled": "on", "listen-port": "0", "bind-address": "127.0.0.1",
		"auth.login." + brickName + ".ssl-allow": "alice,bob", "auth.login." + brickName + ".allow": "u", "auth.login.u.password": "p",
	} {
		opt[k] = v
	}
	f, err := listening(t, opt)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]syscall.Errno{"alice": 0, "eve": syscall.EACCES} {
		config, err := rpc.TLSConfig(certs[name], quiet)
		if err != nil {
			t.Fatal(err)
		}
		opts := rpc.DialOptions{Address: f.addr, TLS: config}
		opts.Log = quiet
		c, err := rpc.Dial(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := &wire{Client: c, t: t, cred: rpc.Cred{Flavor: rpc.AuthGlusterV3}}
		if r := w.setvolume(hello(name, "username", "u", "password", "p")); r.Errno != int32(want) {
			t.Errorf("%s: %+v", name, r)
		}
		if want != 0 {
			continue
		}
		g, n := w.create("file")
		data := make([]byte, 300<<10)
		data[299<<10] = 7
		if _, err := w.fop(&fop.Write{GFID: g, Data: data}, n); err != nil {
			t.Error(err)
		}
		rep, err := w.fop(&fop.Read{GFID: g, Size: 1 << 20}, n)
		if err != nil || len(rep.(*fop.ReadReply).Data) != len(data) || rep.(*fop.ReadReply).Data[299<<10] != 7 {
			t.Errorf("read over TLS: %v", err)
		}
	}
	// Plain text gets nowhere.
	plain := rpc.DialOptions{Address: f.addr}
	plain.Log = quiet
	c, err := rpc.Dial(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(t.Context(), &rpc.Request{Prog: rpc.DumpProgram, Vers: rpc.DumpVersion, Proc: rpc.DumpPing}); err == nil {
		t.Error("a ping without TLS was answered")
	}
	if _, err := listening(t, xlator.Options{"transport.socket.ssl-enabled": "on", "transport.socket.ssl-own-cert": "/none", "listen-port": "0"}); err == nil {
		t.Error("a server without certificate starts")
	}
}
