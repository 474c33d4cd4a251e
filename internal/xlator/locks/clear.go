package locks

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Names of the virtual xattrs by which an administrator, or a client that
// interrupts a system call, clears locks: <prefix>t<family>.k<kind>[.<which>].
const (
	clearPrefix     = "glusterfs.clrlk."
	interruptPrefix = "glusterfs.intrlk."
)

// clearing is a parsed name.
type clearing struct {
	family           string // "inode", "entry" or "posix"
	granted, blocked bool
	name             string // of an entrylk, "" for all
	ranged           bool
	first, last      int64
}

// parseClear reads what follows the prefix. The error is EINVAL.
func parseClear(s string) (c clearing, err error) {
	bad := fmt.Errorf("clear-locks %q is not of the form t<inode|entry|posix>.k<blocked|granted|all>[.<range|name>]: %w", s, syscall.EINVAL)
	family, rest, ok := strings.Cut(s, ".")
	if !ok || !strings.HasPrefix(family, "t") {
		return c, bad
	}
	kind, which, _ := strings.Cut(rest, ".")
	c.family = family[1:]
	switch c.family {
	case "inode", "entry", "posix":
	default:
		return c, bad
	}
	switch kind {
	case "kblocked":
		c.blocked = true
	case "kgranted":
		c.granted = true
	case "kall":
		c.blocked, c.granted = true, true
	default:
		return c, bad
	}
	if which == "" {
		return c, nil
	}
	if c.family == "entry" {
		c.name = which
		return c, nil
	}
	whence, span, ok := strings.Cut(which, ",")
	start, length, ok2 := strings.Cut(span, "-")
	a, e1 := strconv.ParseUint(whence, 10, 16)
	b, e2 := strconv.ParseUint(start, 10, 63)
	n, e3 := strconv.ParseUint(length, 10, 63)
	if !ok || !ok2 || e1 != nil || e2 != nil || e3 != nil || a > 2 {
		return c, bad
	}
	c.ranged = true
	c.first, c.last, err = lockRange(fop.Flock{Start: b, Len: n})
	if err != nil {
		return c, bad
	}
	return c, nil
}

// clear answers getxattr of such a name; mine limits it to the posix locks of the
// calling process.
func (l *Locks) clear(ctx context.Context, g fop.GFID, name string, h *fop.Header, mine bool) (fop.Reply, error) {
	prefix := clearPrefix
	if mine {
		prefix = interruptPrefix
	}
	c, err := parseClear(strings.TrimPrefix(name, prefix))
	if err != nil {
		return nil, err
	}
	var granted, blocked int
	l.with(g, false, func(o *object, opt *options) {
		if c.family == "posix" {
			match := func(k *posixLock) bool {
				return (!c.ranged || k.first <= c.last && c.first <= k.last) &&
					(!mine || k.client == h.From && k.procPID == h.Cred.PID)
			}
			granted, blocked = o.posix.drop(syscall.EINTR, only(c.granted, match), only(c.blocked, match))
			return
		}
		if mine {
			return
		}
		match := func(k *domainLock) bool {
			if c.family == "entry" {
				return k.family == entrylk && (c.name == "" || k.name == c.name)
			}
			return k.family == inodelk && (!c.ranged || k.first <= c.last && c.first <= k.last)
		}
		granted, blocked = o.drop(syscall.EAGAIN, only(c.granted, match), only(c.blocked, match), &opt.policy, l.now())
	})
	text := "No locks cleared."
	if granted+blocked > 0 {
		text = fmt.Sprintf("%s: %s blocked locks=%d granted locks=%d", l.brick(ctx), c.family, blocked, granted)
		l.log.Info("locks cleared", "volume", l.name, "gfid", g, "name", name, "blocked", blocked, "granted", granted)
	}
	d := (&fop.Dict{}).Set(name, fop.Str(text))
	return &fop.XattrReply{Dict: d, Size: int32(len(text) + 1)}, nil
}

func only[T any](on bool, f func(T) bool) func(T) bool {
	if on {
		return f
	}
	return nil
}

// pathinfo asks storage where the root is: <POSIX(/brick):host:/brick/>.
func (l *Locks) pathinfo(ctx context.Context) string {
	reply, err := fop.Call(ctx, l.next, &fop.Getxattr{Header: fop.Header{Cred: internal}, GFID: fop.RootGFID, Name: fop.KeyPathinfo})
	if err != nil || reply == nil {
		return ""
	}
	return reply.Dict.Text(fop.KeyPathinfo)
}

// brick is how this brick is called in reports: host:/brick/.
func (l *Locks) brick(ctx context.Context) string {
	s := l.pathinfo(ctx)
	if i := strings.LastIndex(s, "):"); i >= 0 {
		return strings.TrimSuffix(s[i+2:], ">")
	}
	return l.host + ":" + l.name
}

// Dump writes every lock for a statedump.
func (l *Locks) Dump(w io.Writer) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for g, o := range s.objects {
			fmt.Fprintf(w, "gfid=%v\n%s", g, o.dump())
		}
		s.mu.Unlock()
	}
}

// dump lists the locks of an object, one a line.
func (o *object) dump() string {
	var b strings.Builder
	client := func(c *fop.Client) string {
		if c == nil {
			return "-"
		}
		return c.ID
	}
	types := [...]string{"READ", "WRITE", "UNLOCK"}
	posix := func(state string, s []*posixLock) {
		for i, k := range s {
			start, n := flockRange(k.first, k.last)
			fmt.Fprintf(&b, "posixlk.posixlk[%d](%s)=type=%s, start=%d, len=%d, pid=%d, owner=%x, client=%s\n",
				i, state, types[k.typ], start, n, k.pid, k.id, client(k.client))
		}
	}
	posix("ACTIVE", o.posix.granted)
	posix("BLOCKED", o.posix.blocked)
	posix("HELD", o.posix.held)
	list := func(name, state string, s []*domainLock) {
		for i, k := range s {
			if k.family == entrylk {
				fmt.Fprintf(&b, "%s[%d](%s)=type=%s on basename=%s, owner=%x, client=%s\n", name, i, state, types[k.typ], k.name, k.id, client(k.client))
				continue
			}
			start, n := flockRange(k.first, k.last)
			fmt.Fprintf(&b, "%s[%d](%s)=type=%s, start=%d, len=%d, pid=%d, owner=%x, client=%s\n",
				name, i, state, types[k.typ], start, n, k.pid, k.id, client(k.client))
		}
	}
	for _, d := range o.domains {
		name := [...]string{"inodelk", "entrylk"}[d.family]
		fmt.Fprintf(&b, "lock-dump.domain.domain=%s\n", d.name)
		list(name+"."+name, "ACTIVE", d.granted)
		list(name+"."+name, "BLOCKED", d.blocked)
	}
	list("inodelk.inodelk", "QUEUED", o.queued)
	if o.removing > 0 || len(o.parked) > 0 {
		fmt.Fprintf(&b, "removals=%d, parked=%d\n", o.removing, len(o.parked))
	}
	return b.String()
}
