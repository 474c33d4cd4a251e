package volserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/proto"
	"github.com/wythefs/wythe/internal/rpc"
)

// Failure is what one server said, or how it could not be reached.
type Failure struct {
	Server Server
	Err    error
}

// ServersError says why no server gave the volfile. It wraps the errors of all,
// those first in which a server answered.
type ServersError struct {
	ID       string
	Failures []Failure
}

func (e *ServersError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no server gives the volfile of %q", e.ID)
	for i, f := range e.Failures {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, f.Server, f.Err)
	}
	return b.String()
}

// Unwrap returns the errors of the servers.
func (e *ServersError) Unwrap() []error {
	var said, mute []error
	for _, f := range e.Failures {
		var r *Refusal
		if errors.As(f.Err, &r) {
			said = append(said, f.Err)
		} else {
			mute = append(mute, f.Err)
		}
	}
	return append(said, mute...)
}

// Refusal is an answer of a server without a volfile.
type Refusal struct {
	ID    string
	Errno syscall.Errno
}

func (e *Refusal) Error() string {
	switch e.Errno {
	case syscall.ENOENT:
		return fmt.Sprintf("it knows no volume %q; check the name with: gluster volume list", e.ID)
	case syscall.ENOTSUP:
		return fmt.Sprintf("volume %q needs a newer or older client (this one speaks op-versions %d to %d); "+
			"compare with: gluster volume get %s cluster.max-op-version", e.ID, minOpVersion, maxOpVersion, e.ID)
	case syscall.EINVAL:
		return fmt.Sprintf("it takes %q for no volfile id; give the name of a volume", e.ID)
	}
	return fmt.Sprintf("it refuses the volfile of %q: %v", e.ID, e.Errno)
}

// Unwrap returns the errno.
func (e *Refusal) Unwrap() error { return e.Errno }

// Fetch gets the volfile: over the connection that there is, else from the
// servers in turn. The error is a *ServersError when no server of several gave
// it.
func (c *Client) Fetch(ctx context.Context) (string, error) {
	var text string
	_, err := c.connection(ctx, func(ctx context.Context, conn *rpc.Client) error {
		answer, err := c.getspec(ctx, conn)
		if err != nil {
			return err
		}
		text = answer.Spec
		if c.cfg.Brick != "" {
			return nil // a brick belongs to its own node's daemon
		}
		list := answer.XData.Text("servers-list")
		if list == "" {
			list = answer.XData.Text("cluster.brick-vol-servers")
		}
		c.learn(list)
		return nil
	})
	return text, err
}

// Op-versions of volumes that we can use, those of GlusterFS 10.3.
const (
	minOpVersion = 1
	maxOpVersion = 100000
)

// flagServersList asks for the names of other servers, too.
const flagServersList = 1

func (c *Client) getspec(ctx context.Context, conn *rpc.Client) (*proto.GetspecReply, error) {
	req := &proto.GetspecRequest{Key: c.cfg.ID, XData: fop.NewDict(
		fop.Pair{Key: "min-op-version", Val: fop.Str(strconv.Itoa(minOpVersion))},
		fop.Pair{Key: "max-op-version", Val: fop.Str(strconv.Itoa(maxOpVersion))})}
	if c.cfg.Brick == "" {
		req.Flags = flagServersList
	} else {
		req.XData.Set("brick_name", fop.Str(c.cfg.Brick))
	}
	reply, err := conn.Call(ctx, &rpc.Request{Prog: proto.ProgHandshake, Vers: proto.VersHandshake, Proc: proto.HandshakeGetspec, Cred: cred(), Args: req})
	if err != nil {
		return nil, err
	}
	answer := new(proto.GetspecReply)
	if err := answer.Decode(reply.Body); err != nil {
		return nil, fmt.Errorf("its answer is not GlusterFS's: %w", err)
	}
	// An id that is too long makes glusterd answer with success and no text.
	if answer.Ret < 0 || answer.Spec == "" {
		return nil, &Refusal{c.cfg.ID, proto.ErrnoFromWire(answer.Errno)}
	}
	return answer, nil
}

// VolumeID asks for the UUID of a volume.
func (c *Client) VolumeID(ctx context.Context, volume string) (fop.GFID, error) {
	req := &proto.DictRequest{Dict: fop.NewDict(
		fop.Pair{Key: "volname", Val: fop.Str(volume)},
		fop.Pair{Key: "flags", Val: fop.Str("1")})}
	reply, err := c.Call(ctx, proto.ProgHandshake, proto.VersHandshake, proto.HandshakeGetVolumeInfo, req)
	if err != nil {
		return fop.GFID{}, err
	}
	answer := new(proto.DictReply)
	if err := answer.Decode(reply.Body); err != nil {
		return fop.GFID{}, fmt.Errorf("volume id of %q: %w", volume, err)
	}
	if answer.Ret < 0 {
		return fop.GFID{}, &Refusal{volume, proto.ErrnoFromWire(answer.Errno)}
	}
	v, _ := answer.Dict.Get("volume_id")
	id, ok := v.GFID()
	if !ok {
		return fop.GFID{}, fmt.Errorf("volume id of %q: the server sends none: %w", volume, syscall.EPROTO)
	}
	return id, nil
}

// learn adds the servers that an answer names: host:port, separated by blanks.
// The first that is not so ends it, as in GlusterFS.
func (c *Client) learn(list string) {
	var more []Server
	for _, word := range strings.Fields(list) {
		if !strings.Contains(word, ":") {
			break
		}
		s, err := ParseServer(word)
		if err != nil {
			break
		}
		more = append(more, s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range more {
		if !c.knows(s) && len(c.servers) < maxServers {
			c.servers = append(c.servers, s)
			c.log.Info("another volfile server", "server", s.String())
		}
	}
}

const maxServers = 256

// knows reports whether s is among the servers. mu must be held.
func (c *Client) knows(s Server) bool {
	for _, t := range c.servers {
		if t == s {
			return true
		}
	}
	return false
}

// reason puts an error about a server into words that help.
func reason(err error) error {
	var dns *net.DNSError
	var refusal *Refusal
	var cert *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &refusal):
		return err
	case errors.As(err, &cert):
		return fmt.Errorf("%w; check its certificate, and which authorities and which name this side expects", err)
	case errors.As(err, &noTLS):
		return fmt.Errorf("%w; it does not use TLS, as it seems", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w; is it a GlusterFS server, and do both sides use TLS or neither?", err)
	case errors.As(err, &dns):
		return fmt.Errorf("%w; check the host name", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; is glusterd running there, on that port?", err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Errorf("%w; check the address, the network and firewalls", err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w; is glusterd running there?", err)
	}
	return err
}
