package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tlsDirectory is where GlusterFS looks for certificates when no option says
// otherwise (OpenSSL's directory on Debian).
const tlsDirectory = "/usr/lib/ssl"

// TLSConfig makes the TLS configuration of a connection, for either end of
// it, from GlusterFS options: ssl-own-cert, ssl-private-key, ssl-ca-list,
// ssl-crl-path, ssl-cert-depth, ssl-cipher-list, ssl-ec-curve and
// ssl-dh-param, with or without the prefix "transport.socket.". Missing or
// empty ones have GlusterFS's defaults.
//
// Both ends present a certificate and both verify the other's against the CA
// list; names of hosts are not looked at. The certificate depth is the number
// of intermediate authorities allowed. Cipher lists are understood as far as
// Go's TLS 1.2 suites have a part in them; TLS 1.3 suites are not
// configurable. What has no counterpart in Go is logged.
func TLSConfig(options map[string]string, log *slog.Logger) (*tls.Config, error) {
	if log == nil {
		log = slog.Default()
	}
	get := func(name, fallback string) string {
		for _, prefix := range []string{"transport.socket.", ""} {
			if v := options[prefix+name]; v != "" && v != "NULL" {
				return v
			}
		}
		return fallback
	}
	certFile := get("ssl-own-cert", filepath.Join(tlsDirectory, "glusterfs.pem"))
	keyFile := get("ssl-private-key", filepath.Join(tlsDirectory, "glusterfs.key"))
	caFile := get("ssl-ca-list", filepath.Join(tlsDirectory, "glusterfs.ca"))

	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("rpc: own certificate (ssl-own-cert %s, ssl-private-key %s): %w", certFile, keyFile, err)
	}
	authorities, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("rpc: trusted certificates (ssl-ca-list): %w", err)
	}
	v := verifier{roots: x509.NewCertPool()}
	if !v.roots.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("rpc: trusted certificates (ssl-ca-list): no certificate in %s", caFile)
	}
	if v.depth, err = strconv.Atoi(get("ssl-cert-depth", "1")); err != nil || v.depth < 0 {
		return nil, fmt.Errorf("rpc: ssl-cert-depth %q is no number", get("ssl-cert-depth", "1"))
	}
	if dir := get("ssl-crl-path", ""); dir != "" {
		if v.revoked, err = loadCRLs(dir); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAnyClientCert,
		// The chain is verified by VerifyConnection, without a host name.
		InsecureSkipVerify:     true,
		VerifyConnection:       v.verify,
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
	if list := get("ssl-cipher-list", ""); list != "" {
		if config.CipherSuites, err = parseCipherList(list); err != nil {
			return nil, err
		}
	}
	if name := get("ssl-ec-curve", ""); name != "" {
		curve, ok := curves[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("rpc: ssl-ec-curve %q: Go's TLS has only prime256v1, secp384r1, secp521r1 and X25519", name)
		}
		config.CurvePreferences = []tls.CurveID{curve}
	}
	if file := get("ssl-dh-param", ""); file != "" {
		log.Warn("rpc: ssl-dh-param has no effect: Go's TLS uses elliptic curves only", "file", file)
	}
	return config, nil
}

var curves = map[string]tls.CurveID{
	"prime256v1": tls.CurveP256, "p-256": tls.CurveP256,
	"secp384r1": tls.CurveP384, "p-384": tls.CurveP384,
	"secp521r1": tls.CurveP521, "p-521": tls.CurveP521,
	"x25519": tls.X25519,
}

type verifier struct {
	roots   *x509.CertPool
	depth   int
	revoked map[string]bool // issuer and serial number
}

func (v *verifier) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("rpc: the peer sent no certificate")
	}
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         v.roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("rpc: certificate of %q: %w", leaf.Subject.CommonName, err)
	}
	shortest := len(chains[0])
	for _, chain := range chains {
		shortest = min(shortest, len(chain))
	}
	if shortest-2 > v.depth {
		return fmt.Errorf("rpc: certificate of %q: %d intermediate authorities, ssl-cert-depth allows %d",
			leaf.Subject.CommonName, shortest-2, v.depth)
	}
	for _, cert := range chains[0] {
		if v.revoked[revocationKey(cert.RawIssuer, cert.SerialNumber.Bytes())] {
			return fmt.Errorf("rpc: certificate of %q is revoked", cert.Subject.CommonName)
		}
	}
	return nil
}

func revocationKey(issuer, serial []byte) string { return string(issuer) + "\x00" + string(serial) }

// loadCRLs reads all revocation lists in a directory. Their signatures are
// not verified: whoever writes there could as well replace the CA list.
func loadCRLs(dir string) (map[string]bool, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("rpc: revocation lists (ssl-crl-path): %w", err)
	}
	revoked := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			continue // a directory, or a dangling hash link
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "X509 CRL" {
				continue
			}
			list, err := x509.ParseRevocationList(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("rpc: revocation list %s: %w", file.Name(), err)
			}
			if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
				return nil, fmt.Errorf("rpc: revocation list %s has expired", file.Name())
			}
			for _, entry := range list.RevokedCertificateEntries {
				revoked[revocationKey(list.RawIssuer, entry.SerialNumber.Bytes())] = true
			}
		}
	}
	return revoked, nil
}

// suiteNames maps OpenSSL's names of TLS 1.2 suites.
var suiteNames = map[string]uint16{
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
}

// suiteGroups are the words of OpenSSL's cipher lists that contain all strong
// suites with forward secrecy; each means Go's own choice.
var suiteGroups = map[string]bool{
	"ALL": true, "DEFAULT": true, "HIGH": true, "EECDH": true, "ECDHE": true,
	"KEECDHE": true, "AES": true, "AES128": true, "AES256": true, "AESGCM": true, "TLSV1.2": true,
}

// parseCipherList understands an OpenSSL cipher list as far as it can: names
// of suites select just those, words for groups mean Go's default suites
// (nil), exclusions and suites that Go does not have are passed over.
func parseCipherList(list string) ([]uint16, error) {
	var suites []uint16
	group := false
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(": ,", r) }) {
		if strings.ContainsRune("!-@", rune(word[0])) {
			continue
		}
		word = strings.TrimPrefix(word, "+")
		if id, ok := suiteNames[strings.ToUpper(word)]; ok {
			suites = append(suites, id)
		}
		for _, part := range strings.Split(strings.ToUpper(word), "+") {
			group = group || suiteGroups[part]
		}
	}
	switch {
	case group:
		return nil, nil
	case len(suites) > 0:
		return suites, nil
	}
	return nil, fmt.Errorf("rpc: ssl-cipher-list %q has no suite that Go's TLS offers "+
		"(ECDHE with AES-GCM, ChaCha20 or AES-SHA, under OpenSSL's names)", list)
}
