package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An authority issues certificates for the tests.
type authority struct {
	t     *testing.T
	dir   string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain []byte // PEM of the intermediates down to this one
}

var serial int64

func (a *authority) issue(name string, isCA bool) (der []byte, key *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if isCA {
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func (a *authority) write(name string, content []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	der, key := a.issue(name, true)
	a.cert, _ = x509.ParseCertificate(der)
	a.key = key
	a.write("ca.pem", pemBlock("CERTIFICATE", der))
	return a
}

// intermediate makes an authority whose certificate a issued.
func (a *authority) intermediate(name string) *authority {
	der, key := a.issue(name, true)
	cert, _ := x509.ParseCertificate(der)
	return &authority{t: a.t, dir: a.dir, cert: cert, key: key, chain: append(pemBlock("CERTIFICATE", der), a.chain...)}
}

// options returns GlusterFS options for a peer with a certificate of a, who
// trusts the authority ca.
func (a *authority) options(name string, ca *authority) map[string]string {
	der, key := a.issue(name, false)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return map[string]string{
		"transport.socket.ssl-own-cert":    a.write(name+".pem", append(pemBlock("CERTIFICATE", der), a.chain...)),
		"transport.socket.ssl-private-key": a.write(name+".key", pemBlock("PRIVATE KEY", keyDER)),
		"ssl-ca-list":                      filepath.Join(ca.dir, "ca.pem"),
	}
}

func mustTLS(t *testing.T, options map[string]string) *tls.Config {
	t.Helper()
	config, err := TLSConfig(options, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func with(options map[string]string, key, value string) map[string]string {
	options[key] = value
	return options
}

// tlsCall dials with TLS and makes a call: with TLS 1.3 a client learns only
// then that the server refused it.
func tlsCall(t *testing.T, ts *testServer, config *tls.Config) error {
	t.Helper()
	return tlsCallWithin(t, 10*time.Second, ts, config)
}

func tlsCallWithin(t *testing.T, timeout time.Duration, ts *testServer, config *tls.Config) error {
	t.Helper()
	c, err := Dial(t.Context(), DialOptions{Address: ts.addr.String(), TLS: config, Ports: PortEphemeral,
		ConnectTimeout: timeout, ClientOptions: ClientOptions{Log: quiet}})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(t.Context(), request(procNull, nil))
	return err
}

func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	connected := make(chan *Conn, 100)
	ts := newTestServer(t, func(s *Server) {
		s.TLS = mustTLS(t, ca.options("server", ca))
		s.OnConnect = func(c *Conn) { connected <- c }
		s.HandshakeTimeout = 2 * time.Second // of a machine that does much else
	})
	config := mustTLS(t, ca.options("client.example", ca))
	c := ts.dial(t, DialOptions{TLS: config})
	mustEcho(t, c, "in secret   ")
	if name := (<-connected).PeerName(); name != "client.example" {
		t.Errorf("peer name %q", name)
	}
	testPayloads(t, c)

	one := ca.intermediate("one")
	two := one.intermediate("two")
	tls12 := mustTLS(t, ca.options("old", ca))
	tls12.MaxVersion = tls.VersionTLS12
	none := mustTLS(t, ca.options("none", ca))
	none.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
	for _, tc := range []struct {
		name   string
		config *tls.Config
		ok     bool
	}{
		{"TLS 1.2", tls12, true},
		{"one intermediate authority", mustTLS(t, one.options("c1", ca)), true},
		{"two intermediate authorities", mustTLS(t, two.options("c2", ca)), false},
		{"no certificate", none, false},
		{"issuer unknown to the server", mustTLS(t, stranger.options("s1", ca)), false},
		{"issuer unknown to the client", mustTLS(t, ca.options("s2", stranger)), false},
	} {
		if err := tlsCall(t, ts, tc.config); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if err := tlsCall(t, ts, nil); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("plain text on a TLS port: %v", err)
	}
	p := ts.rawPeer(t) // says nothing
	if _, err := io.Copy(io.Discard, p); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("silent peer: %v", err)
	}
	mustEcho(t, c, "still there.")

	deep := newTestServer(t, func(s *Server) { s.TLS = mustTLS(t, with(ca.options("deep", ca), "ssl-cert-depth", "2")) })
	if err := tlsCall(t, deep, mustTLS(t, two.options("c3", ca))); err != nil {
		t.Errorf("depth 2: %v", err)
	}
}

func TestTLSClientOnPlainPort(t *testing.T) {
	ca := newAuthority(t, "ca")
	ts := newTestServer(t, nil)
	// To the server the handshake is the beginning of a very large record.
	err := tlsCallWithin(t, 100*time.Millisecond, ts, mustTLS(t, ca.options("client", ca)))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "TLS handshake with "+ts.addr.String()) {
		t.Errorf("got %v", err)
	}
}

func TestTLSSelfSigned(t *testing.T) {
	// The usual set-up with GlusterFS: every node's own certificate is in the
	// list of trusted ones.
	a := &authority{t: t, dir: t.TempDir()}
	options := a.options("node", a)
	cert, err := os.ReadFile(options["transport.socket.ssl-own-cert"])
	if err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", cert)
	ts := newTestServer(t, func(s *Server) { s.TLS = mustTLS(t, options) })
	if err := tlsCall(t, ts, mustTLS(t, options)); err != nil {
		t.Error(err)
	}
}

func TestTLSRevocation(t *testing.T) {
	ca := newAuthority(t, "ca")
	bad := ca.options("bad", ca)
	badSerial := serial
	crls := t.TempDir()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(badSerial), RevocationTime: time.Now()}},
	}, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(crls, "0a1b2c3d.r0"), pemBlock("X509 CRL", der), 0o600); err != nil {
		t.Fatal(err)
	}
	ts := newTestServer(t, func(s *Server) { s.TLS = mustTLS(t, with(ca.options("server", ca), "ssl-crl-path", crls)) })
	if err := tlsCall(t, ts, mustTLS(t, ca.options("good", ca))); err != nil {
		t.Errorf("good certificate: %v", err)
	}
	if err := tlsCall(t, ts, mustTLS(t, bad)); err == nil {
		t.Error("revoked certificate accepted")
	}
}

func TestTLSConfigErrors(t *testing.T) {
	ca := newAuthority(t, "ca")
	for _, tc := range []struct{ key, value, want string }{
		{"transport.socket.ssl-own-cert", "/nonexistent", "ssl-own-cert"},
		{"transport.socket.ssl-private-key", filepath.Join(ca.dir, "ca.pem"), "ssl-private-key"},
		{"ssl-ca-list", "/nonexistent", "ssl-ca-list"},
		{"ssl-ca-list", "/dev/null", "no certificate"},
		{"ssl-cert-depth", "deep", "ssl-cert-depth"},
		{"ssl-crl-path", "/nonexistent", "ssl-crl-path"},
		{"ssl-cipher-list", "RC4-MD5", "ssl-cipher-list"},
		{"ssl-ec-curve", "brainpool", "ssl-ec-curve"},
	} {
		if _, err := TLSConfig(with(ca.options("x", ca), tc.key, tc.value), quiet); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: %v", tc.key, tc.value, err)
		}
	}
	for list, suites := range map[string]int{
		"EECDH:EDH:HIGH:!3DES:!RC4:!DES:!MD5:!aNULL:!eNULL":                                0,
		"AES128:EECDH:EDH:HIGH:!3DES":                                                      0,
		"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-DES-CBC3-SHA:ECDHE-ECDSA-CHACHA20-POLY1305": 2,
	} {
		got, err := parseCipherList(list)
		if err != nil || len(got) != suites {
			t.Errorf("%s: %v, %v", list, got, err)
		}
	}
	if _, err := TLSConfig(with(ca.options("y", ca), "ssl-ec-curve", "prime256v1"), quiet); err != nil {
		t.Error(err)
	}
}

// A reply is refused while the write is stuck inside TLS: memory must be free
// at once there, too.
func TestTLSCancelWhilePayloadGoesOut(t *testing.T) {
	ca := newAuthority(t, "ca")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	config := mustTLS(t, ca.options("server", ca))
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			secure := tls.Server(conn, config)
			if secure.Handshake() == nil {
				accepted <- secure
			}
		}
	}()
	c, err := Dial(t.Context(), DialOptions{Address: ln.Addr().String(), TLS: mustTLS(t, ca.options("client", ca)), Ports: PortEphemeral})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testCancelOut(t, c, rawPeer{t, <-accepted})
}
