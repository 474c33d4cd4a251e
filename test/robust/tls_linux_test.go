package robust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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

	"github.com/wythefs/wythe/gfapi"
	"github.com/wythefs/wythe/internal/testenv"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t testing.TB, name string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{t: t, cert: cert, key: key, n: 1}
}

// issue writes glusterfs.pem, .key and .ca into a directory of their own.
func (a *authority) issue(name string, ip net.IP, trust ...*authority) (dir string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	a.n++
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{ip},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	must(a.t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(a.t, err)
	dir = a.t.TempDir()
	write := func(file, kind string, ders ...[]byte) {
		var b []byte
		for _, der := range ders {
			b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
		}
		must(a.t, os.WriteFile(filepath.Join(dir, "glusterfs."+file), b, 0o600))
	}
	write("pem", "CERTIFICATE", der)
	write("key", "EC PRIVATE KEY", keyDER)
	var cas [][]byte
	for _, t := range trust {
		cas = append(cas, t.cert.Raw)
	}
	write("ca", "CERTIFICATE", cas...)
	return dir
}

func withFiles(dir string) []gfapi.Option {
	const p = "transport.socket.ssl-"
	return []gfapi.Option{
		gfapi.WithXlatorOption("*-client-*", p+"own-cert", dir+"/glusterfs.pem"),
		gfapi.WithXlatorOption("*-client-*", p+"private-key", dir+"/glusterfs.key"),
		gfapi.WithXlatorOption("*-client-*", p+"ca-list", dir+"/glusterfs.ca"),
	}
}

// TestTLS has the real glusterd run a volume with TLS, first on the real brick,
// then on ours, then with TLS for the management, too.
func TestTLS(t *testing.T) {
	noLeaks(t)
	g := testenv.Gluster(t)
	good, bad := newAuthority(t, "good"), newAuthority(t, "bad")
	ip := net.ParseIP(g.IP)
	g.Bind(t, good.issue("server", ip, good), "/usr/lib/ssl")
	client := good.issue("client", ip, good)
	brick := testenv.LoopFS(t, "xfs", 300) + "/brick"
	g.Create(t, "data", brick)
	g.Set(t, "data", "client.ssl", "on", "server.ssl", "on")
	g.StartVolume(t, "data")
	dial := gfapi.WithDialer(g.DialContext)
	server := g.Addr(24007)
	use := func(t *testing.T, opts ...gfapi.Option) {
		t.Helper()
		v, err := gfapi.Mount(t.Context(), server, "data", options(append(append(opts, dial), withFiles(client)...))...)
		must(t, err)
		begin := time.Now()
		big := []byte(strings.Repeat("over TLS\n", 300000))
		must(t, v.WriteFile("big", big, 0o644))
		got, err := v.ReadFile("big")
		if err != nil || string(got) != string(big) {
			t.Errorf("read back %d bytes, %v", len(got), err)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("the connection stalls: 5 MB take %v", d)
		}
		must(t, v.Unmount())
	}
	wrong := func(t *testing.T) {
		none := t.TempDir()
		for _, tt := range []struct {
			name  string
			want  error
			words []string
			opts  []gfapi.Option
		}{
			{"we do not trust it", nil, []string{brick, "certificate"}, withFiles(good.issue("client", ip, bad))},
			{"it does not trust us", nil, []string{brick, "TLS", "trusts"}, withFiles(bad.issue("client", ip, good))},
			{"no certificate", os.ErrNotExist, []string{brick, none + "/glusterfs.pem", "client.ssl"}, withFiles(none)},
			{"no TLS", nil, []string{brick, "TLS"}, []gfapi.Option{gfapi.WithXlatorOption("*-client-*", "transport.socket.ssl-enabled", "off")}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				refused(t, 3*time.Second, server, "data", tt.want, tt.words, append(tt.opts, dial)...)
			})
		}
	}
	t.Run("real brick", func(t *testing.T) {
		// Several requests in one TLS record make the real brick forget all
		// but the first.
		for range 10 {
			use(t)
		}
		wrong(t)
	})

	g.MustCLI(t, "volume", "stop", "data")
	g.TakePlace(t, roleEnv+"=brick", "")
	g.StartVolume(t, "data")
	t.Run("our brick", func(t *testing.T) {
		use(t)
		m := g.Mount(t, "data")
		must(t, os.WriteFile(m+"/file", []byte("by the real client"), 0o644))
		b, err := os.ReadFile(m + "/big")
		if err != nil || len(b) != 9*300000 {
			t.Errorf("the real client reads %d bytes, %v", len(b), err)
		}
		g.Unmount(t, m)
		wrong(t)
	})

	g.MustCLI(t, "volume", "stop", "data")
	g.Daemon.Kill()
	<-g.Daemon.Done()
	must(t, os.WriteFile(filepath.Join(g.Dir, "lib", "secure-access"), nil, 0o644))
	g.StartDaemon(t)
	g.StartVolume(t, "data")
	t.Run("management", func(t *testing.T) {
		pair, err := tls.LoadX509KeyPair(client+"/glusterfs.pem", client+"/glusterfs.key")
		must(t, err)
		roots := x509.NewCertPool()
		roots.AddCert(good.cert)
		conf := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "server"}
		use(t, gfapi.WithTLS(conf))
		distrust := conf.Clone()
		distrust.RootCAs = x509.NewCertPool()
		refused(t, 2*time.Second, server, "data", nil, []string{server, "certificate"}, dial, gfapi.WithTLS(distrust))
		refused(t, 2*time.Second, server, "data", nil, []string{server}, dial) // without TLS
	})
}
