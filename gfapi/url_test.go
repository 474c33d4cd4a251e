package gfapi

import "testing"

// An address is refused or names a server and a volume.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"gluster://h/v", "gluster://h:24007,g/v/d/e", "gluster+unix:///v?socket=/run/s", "gluster://[::1]:1/v", "gluster://h", "http://h/v", "gluster://h/%2f", "gluster://h/v/../w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		server, volume, dir, err := parseURL(s)
		if err != nil {
			return
		}
		if server == "" || volume == "" {
			t.Errorf("%q: server %q, volume %q, directory %q", s, server, volume, dir)
		}
	})
}
