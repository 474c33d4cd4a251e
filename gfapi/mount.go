package gfapi

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/xlator"
)

// fopProgram is the number of the program that carries file operations.
const fopProgram = 1298437

// unmountGrace is how long Unmount waits for operations under way.
const unmountGrace = 5 * time.Second

// Mount connects to a volume. server is a management server as HOST, HOST:PORT,
// or the path of a unix socket, or several of these separated by commas (see
// also WithServers); the port is 24007 otherwise. ctx bounds Mount only. The
// error tells what each server said.
func Mount(ctx context.Context, server, volume string, opts ...Option) (*Volume, error) {
	o := newOptions(opts)
	if o.err != nil {
		return nil, fmt.Errorf("gfapi: mount %s: %w", volume, o.err)
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	cfg := mount.Config{Volume: volume, Volfile: o.volfile, Overrides: o.overrides, Registry: clientside.Registry(), Dial: o.dial, TLS: o.tls, Log: o.log}
	if cfg.Volfile == "" {
		var names []string
		for _, s := range strings.Split(server, ",") {
			if s = strings.TrimSpace(s); s != "" {
				names = append(names, s)
			}
		}
		if names = append(names, o.servers...); len(names) == 0 {
			return nil, fmt.Errorf("gfapi: mount %s: no server is given: %w", volume, syscall.EINVAL)
		}
		var err error
		if cfg.Servers, err = volserver.ParseServers(names...); err != nil {
			return nil, fmt.Errorf("gfapi: mount %s: %w", volume, err)
		}
	}
	if o.onCall != nil {
		cfg.Env = xlator.Env{OnCall: func(prog, vers, proc uint32) {
			rt := RoundTrip{Program: prog, Version: vers, Procedure: proc}
			if prog == fopProgram {
				rt.Name = fop.Op(proc).String()
			}
			o.onCall(rt)
		}}
	}
	s, err := mount.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("gfapi: %w", err)
	}
	v := newVolume(s, o, nil)
	v.name = volume
	stop := s.Subscribe(v.m.upcall)
	v.m.end = func() error {
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), unmountGrace)
		defer cancel()
		return s.Close(ctx)
	}
	return v, nil
}

// upcall hears from bricks what others changed.
func (m *mounted) upcall(u *fop.Upcall) {
	if u.Kind != fop.UpcallInvalidate {
		return
	}
	for _, g := range []fop.GFID{u.GFID, u.Parent.GFID, u.OldParent.GFID} {
		if !g.IsZero() {
			m.cache.Changed(g)
		}
	}
}

// MountURL is Mount with everything in an address:
//
//	gluster://HOST[:PORT][,HOST…]/VOLUME[/DIRECTORY]
//	gluster+unix:///VOLUME[/DIRECTORY]?socket=/path/of/socket
//
// With a directory the result is the view that Sub gives of it. Characters with
// a meaning in URLs are written as %XX.
func MountURL(ctx context.Context, address string, opts ...Option) (*Volume, error) {
	server, volume, dir, err := parseURL(address)
	if err != nil {
		return nil, fmt.Errorf("gfapi: %w", err)
	}
	v, err := Mount(ctx, server, volume, opts...)
	if err != nil || dir == "" {
		return v, err
	}
	sub, err := v.WithContext(ctx).Sub(dir)
	if err != nil {
		v.Unmount()
		return nil, fmt.Errorf("gfapi: mount %s: %w", address, err)
	}
	return sub.WithContext(v.ctx), nil
}

// parseURL takes an address apart. Several hosts are beyond what net/url takes.
func parseURL(address string) (server, volume, dir string, err error) {
	bad := func(why string) error {
		return fmt.Errorf("%q is not an address like gluster://HOST/VOLUME/DIRECTORY: %s: %w", address, why, syscall.EINVAL)
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || scheme != "gluster" && scheme != "gluster+tcp" && scheme != "gluster+unix" {
		return "", "", "", bad("its scheme is unknown")
	}
	rest, query, _ := strings.Cut(rest, "?")
	server, rest, _ = strings.Cut(rest, "/")
	if scheme == "gluster+unix" {
		values, err := url.ParseQuery(query)
		if err != nil || server != "" || values.Get("socket") == "" {
			return "", "", "", bad("it needs ?socket=PATH, and no host")
		}
		server = values.Get("socket")
	} else if server == "" {
		return "", "", "", bad("it has no host")
	}
	volume, dir, _ = strings.Cut(rest, "/")
	if volume, err = url.PathUnescape(volume); err != nil || volume == "" {
		return "", "", "", bad("it has no volume")
	}
	if dir, err = url.PathUnescape(dir); err != nil {
		return "", "", "", bad("its directory is not well written")
	}
	if dir = strings.TrimPrefix(path.Clean("/"+dir), "/"); strings.IndexByte(dir, 0) >= 0 {
		return "", "", "", bad("its directory has a NUL")
	}
	return server, volume, dir, nil
}
