package client

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
	"strings"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/xlator"
)

// certificate writes a key and a certificate that is its own authority.
func certificate(t *testing.T, name string) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var options []string
	for _, f := range []struct {
		option, kind string
		der          []byte
	}{{"ssl-own-cert", "CERTIFICATE", cert}, {"ssl-private-key", "PRIVATE KEY", raw}, {"ssl-ca-list", "CERTIFICATE", cert}} {
		path := filepath.Join(dir, f.option)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
		options = append(options, "transport.socket."+f.option, path)
	}
	return options
}

// restart replaces the brick's server by one on another listener.
func (b *brick) restart(l net.Listener, f func(*rpc.Server)) {
	b.kill()
	b.start()
	b.mu.Lock()
	s := &rpc.Server{Programs: b.server.Programs, Outstanding: -1, Log: quiet}
	b.mu.Unlock()
	b.kill()
	f(s)
	b.mu.Lock()
	b.port, b.server = l, s
	b.mu.Unlock()
	serve(b.t, s, l)
}

func TestTLS(t *testing.T) {
	options := certificate(t, "both")
	o := map[string]string{}
	for i := 0; i < len(options); i += 2 {
		o[options[i]] = options[i+1]
	}
	config, err := rpc.TLSConfig(o, quiet)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrick(t)
	b.restart(listen(t), func(s *rpc.Server) { s.TLS = config })
	c := b.connect(t, append(options, "transport.socket.ssl-enabled", "on")...)
	c.create("f")
	// A stranger's certificate, none at all, and no TLS.
	for _, options := range [][]string{
		append(certificate(t, "stranger"), "transport.socket.ssl-enabled", "on"),
		{"transport.socket.ssl-enabled", "on", "transport.socket.ssl-own-cert", "/none"},
		{"ping-timeout", "1"},
	} {
		ev := b.client(t, options...).wait(fop.EventChildConnecting)
		if text := ev.Err.Error(); !strings.Contains(text, "TLS") && !strings.Contains(text, "certificate") {
			t.Errorf("with %v: %v", options, ev.Err)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "brick.socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrick(t)
	b.restart(l, func(*rpc.Server) {})
	c := startClient(t, &xlator.Env{}, "remote-subvolume", "/brick", "transport.address-family", "unix", "transport.socket.connect-path", path)
	c.wait(fop.EventChildUp)
	if _, err := c.Do(context.Background(), &fop.Stat{GFID: fop.RootGFID}); err != nil {
		t.Error(err)
	}
	var dump strings.Builder
	c.Dump(&dump)
	if !strings.Contains(dump.String(), "connected=1\n") || !strings.Contains(dump.String(), "fop_version=400\n") {
		t.Errorf("dump:\n%s", dump.String())
	}
}

// TestOrdinaryDial connects without an Env that dials.
func TestOrdinaryDial(t *testing.T) {
	b := newBrick(t)
	_, port, _ := net.SplitHostPort(b.port.Addr().String())
	calls := make(chan uint32, 100)
	c := startClient(t, &xlator.Env{OnCall: func(prog, vers, proc uint32) { calls <- prog }},
		"remote-host", "127.0.0.1", "remote-subvolume", "/brick", "remote-port", port, "transport.address-family", "inet",
		"transport.tcp-user-timeout", "42", "tcp-window-size", "64KB", "transport.socket.keepalive-time", "5", "client-bind-insecure", "off")
	c.wait(fop.EventChildUp)
	if len(calls) < 2 {
		t.Errorf("OnCall heard of %d calls", len(calls))
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []xlator.Options{{}, {"remote-host": "h"}, {"remote-subvolume": "/b"}, {"remote-host": "h", "remote-subvolume": "/b", "transport-type": "unix"}} {
		if _, err := New(xlator.Config{Name: "c", Options: o}); err == nil {
			t.Errorf("%v is accepted", o)
		}
	}
}
