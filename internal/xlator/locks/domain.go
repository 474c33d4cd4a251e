package locks

import (
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// family tells inodelks from entrylks. Both live in domains and obey the same
// rules but for what counts as overlap.
type family uint8

const (
	inodelk family = iota
	entrylk
)

// domainLock is one granted or waiting inodelk or entrylk.
type domainLock struct {
	owner
	family      family
	domain      string
	fd          *fop.Fd
	typ         uint32
	first, last int64     // inodelk
	flock       fop.Flock // inodelk, as requested
	name        string    // entrylk; "" is the whole directory
	pid         int32     // of the credential
	wait        bool
	at          time.Time // when granted
	noticed     time.Time // when its holder was last told of contention
	w           *waiter
}

// overlaps says whether both want the same thing, in a way that matters if they
// belong to different owners.
func (l *domainLock) overlaps(m *domainLock) bool {
	if l.family == entrylk {
		return l.name == m.name || l.name == "" || m.name == ""
	}
	return l.first <= m.last && m.first <= l.last && (l.typ == fop.LockWrite || m.typ == fop.LockWrite)
}

func (l *domainLock) conflicts(m *domainLock) bool { return l.overlaps(m) && !l.owner.is(m.owner) }

// matches says whether unlocking m means l.
func (l *domainLock) matches(m *domainLock) bool {
	if !l.owner.is(m.owner) {
		return false
	}
	if l.family == entrylk {
		return l.name == m.name && l.typ == m.typ
	}
	return l.first == m.first && l.last == m.last
}

// domain is one domain of one family on an object.
type domain struct {
	family  family
	name    string
	granted []*domainLock // newest first
	blocked []*domainLock // first come first
}

// metadataSuffix marks the domain of the locks that protect metadata.
const metadataSuffix = ":metadata"

// domainName is the domain that a range is really locked in: the last byte but
// one of all offsets means the metadata of the object.
func domainName(name string, f fop.Flock) string {
	if f.Start == 1<<63-2 && f.Len == 0 && !strings.HasSuffix(name, metadataSuffix) {
		return name + metadataSuffix
	}
	return name
}

func (o *object) domain(f family, name string) *domain {
	for _, d := range o.domains {
		if d.family == f && d.name == name {
			return d
		}
	}
	return nil
}

func (o *object) domainFor(f family, name string) *domain {
	if d := o.domain(f, name); d != nil {
		return d
	}
	d := &domain{family: f, name: name}
	o.domains = append(o.domains, d)
	return d
}

// sweep forgets domains that hold nothing.
func (o *object) sweep() {
	o.domains = slices.DeleteFunc(o.domains, func(d *domain) bool {
		return len(d.granted) == 0 && len(d.blocked) == 0
	})
}

// lock takes l in its domain: 0 when granted, EAGAIN when refused, or a waiter.
func (o *object) lock(l *domainLock, p *policy, now time.Time) (*waiter, syscall.Errno) {
	if l.family == inodelk && o.heldBack(l) {
		if !l.wait {
			return nil, syscall.EAGAIN
		}
		l.w = newWaiter()
		o.queued = append(o.queued, l)
		return l.w, 0
	}
	d := o.domainFor(l.family, l.domain)
	o.revoke(d, l, p, now)
	if o.try(d, l, p, now) {
		return nil, 0
	}
	if !l.wait {
		o.sweep()
		return nil, syscall.EAGAIN
	}
	l.w = newWaiter()
	d.blocked = append(d.blocked, l)
	return l.w, 0
}

// try grants l if it can be, and else notes whom to tell.
func (o *object) try(d *domain, l *domainLock, p *policy, now time.Time) bool {
	free := true
	for _, g := range d.granted {
		if !g.conflicts(l) {
			continue
		}
		free = false
		if !p.notify {
			return false
		}
		o.notify(g, p, now)
	}
	if !free || d.overtakes(l) {
		return false
	}
	l.at = now
	d.granted = slices.Insert(d.granted, 0, l)
	return true
}

// overtakes reports whether granting l would starve a waiter.
func (d *domain) overtakes(l *domainLock) bool {
	starves := false
	for _, b := range d.blocked {
		if b.owner.is(l.owner) {
			return false
		}
		starves = starves || b.overlaps(l)
	}
	if !starves {
		return false
	}
	for _, g := range d.granted {
		if g.owner.is(l.owner) {
			return false
		}
	}
	return true
}

func (o *object) notify(g *domainLock, p *policy, now time.Time) {
	if g.client == nil || g.client.Upcall == nil || !g.noticed.IsZero() && now.Sub(g.noticed) < p.notifyDelay {
		return
	}
	g.noticed = now
	up := &fop.Upcall{Kind: fop.UpcallInodelk, GFID: o.gfid, PID: uint32(g.pid), Domain: g.domain, Flock: g.flock}
	if g.family == entrylk {
		up.Kind, up.LockType, up.Name, up.Flock = fop.UpcallEntrylk, g.typ, g.name, fop.Flock{}
	}
	o.notices = append(o.notices, notice{g.client, up})
}

// unlock gives up the newest lock that matches l. EINVAL if there is none.
func (o *object) unlock(l *domainLock, p *policy, now time.Time) syscall.Errno {
	d := o.domain(l.family, l.domain)
	if d == nil {
		return syscall.EINVAL
	}
	i := slices.IndexFunc(d.granted, func(g *domainLock) bool { return g.matches(l) })
	if i < 0 {
		return syscall.EINVAL
	}
	d.granted = slices.Delete(d.granted, i, i+1)
	o.retry(d, p, now)
	o.settle(p, now)
	return 0
}

// retry tries all waiters of d again, first come first.
func (o *object) retry(d *domain, p *policy, now time.Time) {
	if len(d.blocked) == 0 {
		return
	}
	waiting := d.blocked
	d.blocked = nil
	for _, l := range waiting {
		if !o.try(d, l, p, now) {
			d.blocked = append(d.blocked, l)
			continue
		}
		w := l.w
		l.w = nil
		w.answer(0)
	}
}

// drop removes locks from all domains: granted ones without a word, waiting ones
// with verdict e. It reports how many of each.
func (o *object) drop(e syscall.Errno, granted, blocked func(*domainLock) bool, p *policy, now time.Time) (ng, nb int) {
	refuse := func(l *domainLock) bool {
		if !blocked(l) {
			return false
		}
		l.w.answer(e)
		nb++
		return true
	}
	for _, d := range o.domains {
		n := len(d.granted)
		if granted != nil {
			d.granted = slices.DeleteFunc(d.granted, granted)
		}
		ng += n - len(d.granted)
		if blocked != nil {
			d.blocked = slices.DeleteFunc(d.blocked, refuse)
		}
	}
	if blocked != nil {
		o.queued = slices.DeleteFunc(o.queued, refuse)
	}
	if ng+nb > 0 {
		for _, d := range o.domains {
			o.retry(d, p, now)
		}
	}
	o.settle(p, now)
	return ng, nb
}

// revoke takes a domain's locks away from holders that stand in the way of l for
// too long, or in the way of too many.
func (o *object) revoke(d *domain, l *domainLock, p *policy, now time.Time) {
	if p.revokeAfter == 0 && p.revokeMaxBlocked == 0 {
		return
	}
	crowded := p.revokeMaxBlocked > 0 && len(d.blocked) >= p.revokeMaxBlocked
	stale := func(g *domainLock) bool {
		return g.conflicts(l) && (crowded || p.revokeAfter > 0 && now.Sub(g.at) >= p.revokeAfter)
	}
	n := len(d.granted)
	d.granted = slices.DeleteFunc(d.granted, stale)
	if len(d.granted) == n {
		return
	}
	if p.revokeAll {
		for _, b := range d.blocked {
			b.w.answer(syscall.EAGAIN)
		}
		d.blocked = nil
	}
	o.retry(d, p, now)
}

// cancel forgets a waiter that gave up. It reports false if its verdict came
// first.
func (o *object) cancel(w *waiter, p *policy, now time.Time) bool {
	mine := func(l *domainLock) bool { return l.w == w }
	found := false
	cut := func(s []*domainLock) []*domainLock {
		n := len(s)
		s = slices.DeleteFunc(s, mine)
		found = found || len(s) < n
		return s
	}
	for _, d := range o.domains {
		if d.blocked = cut(d.blocked); found {
			// Whoever waited behind it may go.
			o.retry(d, p, now)
			break
		}
	}
	o.queued = cut(o.queued)
	o.sweep()
	return found
}

// count returns how many locks, granted and waiting, a family has in one domain,
// or with all in every one.
func (o *object) count(f family, name string, all bool) (n int) {
	for _, d := range o.domains {
		if d.family == f && (all || d.name == name) {
			n += len(d.granted) + len(d.blocked)
		}
	}
	return n
}

// namedEntrylk reports whether somebody holds an entrylk on just this name.
func (o *object) namedEntrylk(name string) bool {
	for _, d := range o.domains {
		if d.family == entrylk {
			for _, g := range d.granted {
				if g.name == name && name != "" {
					return true
				}
			}
		}
	}
	return false
}
