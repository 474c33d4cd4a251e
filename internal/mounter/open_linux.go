package mounter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/rpc"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/xlator"
)

const (
	// secureAccess is the file whose presence puts TLS on the management path.
	secureAccess = "/var/lib/glusterd/secure-access"
	// retryPause is between rounds of all servers.
	retryPause = time.Second
)

// open opens the volume. Servers that do not answer yet are asked again until ctx
// ends or fetch-attempts is reached: at boot the network and the servers come when
// they come. An answer, such as that there is no such volume, is final.
func (p *process) open(ctx context.Context) (*mount.Session, error) {
	cfg, err := p.volume()
	if err != nil {
		return nil, err
	}
	said := false
	for n := 1; ; n++ {
		s, err := mount.Open(ctx, cfg)
		if err == nil {
			return s, nil
		}
		var servers *volserver.ServersError
		var refusal *volserver.Refusal
		if !errors.As(err, &servers) || errors.As(err, &refusal) {
			return nil, cause(ctx, err)
		}
		if n == p.args.FetchAttempts {
			return nil, err
		}
		p.log.Warn("no volfile server answers yet", "attempt", n, "err", servers)
		if !said && (p.file != nil || p.args.Syslog) {
			said = true
			fmt.Fprintf(os.Stderr, "glusterfs: no server answers yet, trying for %v (mount-timeout):\n", p.args.MountTimeout)
			for _, f := range servers.Failures {
				fmt.Fprintf(os.Stderr, "  %s: %v\n", f.Server, f.Err)
			}
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, err // it tells more
			}
			return nil, context.Cause(ctx)
		}
	}
}

// cause is why ctx was cancelled, if that is what became of the call.
func cause(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// volume says which volume it is.
func (p *process) volume() (mount.Config, error) {
	a := p.args
	cfg := mount.Config{
		Volume: a.volfileKey(), Servers: a.Servers, Registry: clientside.Registry(), Log: p.log,
		Env:  xlator.Env{ProcessName: a.ProcessName, VolfileID: a.VolfileID, LogLevel: p.level, Master: p.master},
		Edit: p.edit,
	}
	if p.file != nil {
		cfg.Env.LogFile = p.file.path
	}
	if a.Volfile != "" {
		b, err := os.ReadFile(a.Volfile)
		if err != nil {
			return cfg, err
		}
		cfg.Volfile = string(b)
		cfg.Volume = a.Volfile
		return cfg, nil
	}
	why, secure := "secure-mgmt", a.SecureMgmt
	if _, err := os.Stat(secureAccess); err == nil && !secure {
		why, secure = secureAccess, true
	}
	if secure {
		var err error
		if cfg.TLS, err = rpc.TLSConfig(nil, p.log); err != nil {
			return cfg, fmt.Errorf("%s asks for TLS: %w", why, err)
		}
	}
	return cfg, nil
}

// volfileKey is what management servers are asked for. The slash before a
// volume's name says nothing to them.
func (a *Arguments) volfileKey() string {
	key := a.VolfileID
	if name := strings.TrimLeft(key, "/"); !strings.Contains(name, "/") {
		key = name
	}
	if a.ThinClient {
		key = "gfproxy-client/" + strings.TrimLeft(key, "/")
	}
	return key
}

// edit changes every volfile that comes, as the arguments want it.
func (p *process) edit(file *volfile.File) error {
	a := p.args
	if err := editVolfile(a, file, func(o volfile.Override) {
		p.log.Warn("xlator-option fits no volume of the volfile", "volume", o.Pattern, "option", o.Key)
	}); err != nil {
		return err
	}
	for _, v := range file.Volumes {
		if v.Type == "debug/io-stats" {
			// A level that was set at run time stays until the volume's changes.
			if level, _ := v.Get("log-level"); level != p.volumeLevel {
				p.volumeLevel = level
				p.setLevel(level)
			}
		}
	}
	return nil
}
