package replicate

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	// anonymousPrefix begins the name of the directory in the root in which
	// healers keep objects that have lost their names.
	anonymousPrefix = ".glusterfs-anonymous-inode"
	// landfill is where bricks used to keep what is being removed.
	landfill = ".landfill"

	keyGFIDChanged = "gfid-changed"
	keyHealMessage = "gfid-heal-msg"
)

// private reports whether a name is kept for bricks and healers and not for a
// process of this pid.
func (r *replicate) private(parent fop.GFID, name string, pid int32) bool {
	if !parent.IsRoot() || name == "" || name[0] != '.' {
		return false
	}
	if name == landfill {
		return true
	}
	if !strings.HasPrefix(name, anonymousPrefix) || pid == fop.PIDGsyncd {
		return false
	}
	return name != r.anonDir || pid != fop.PIDSelfHeal && pid != fop.PIDGlfsHeal
}

// refusePrivate keeps names that cannot be looked up from being made or removed.
func (r *replicate) refusePrivate(req fop.Request) error {
	var name string
	dir, _ := fop.Target(req)
	switch q := req.(type) {
	case *fop.Create:
		name = q.Name
	case *fop.Mknod:
		name = q.Name
	case *fop.Mkdir:
		name = q.Name
	case *fop.Symlink:
		name = q.Name
	case *fop.Link:
		name = q.Name
	case *fop.Unlink:
		name = q.Name
	case *fop.Rmdir:
		name = q.Name
	case *fop.Rename:
		name = q.OldName
		if r.private(q.NewParent, q.NewName, q.Cred.PID) {
			dir, name = q.NewParent, q.NewName
		}
	default:
		return nil
	}
	if !r.private(dir, name, req.Head().Cred.PID) {
		return nil
	}
	return fmt.Errorf("%s: %v %q: the name is kept for the volume itself: %w", r.name, req.Op(), name, syscall.EPERM)
}

// lookup asks all children that are up at once. What it learns about the copies
// is kept; the answer is that of a good one.
func (r *replicate) lookup(ctx context.Context, q *fop.Lookup) (fop.Reply, error) {
	if r.private(q.Parent, q.Name, q.Cred.PID) {
		return nil, fmt.Errorf("%s: lookup %q: the name is kept for the volume itself: %w", r.name, q.Name, syscall.EPERM)
	}
	v := r.view()
	if v.up == 0 {
		return nil, fmt.Errorf("%s: lookup: no copy is reachable: %w", r.name, syscall.ENOTCONN)
	}
	if q.Name == "" && q.GFID.IsRoot() {
		r.findLocal()
	}
	p := *q
	p.XData = r.lookupKeys(q)
	// Something odd seen from here on is not answered by this lookup. Of an
	// object whose GFID is yet to come, it is what was seen before.
	var seen uint32
	held := r.objects.Peek(q.GFID)
	if held != nil {
		seen = held.V.suspicion()
		held.Release()
	}
	l := looking{r: r, q: q, v: v, as: make([]answer, r.n), seen: seen, sure: held != nil}
	l.good = r.fan(ctx, v.up, &p, l.as)
	if l.torn() {
		l.again(ctx, &p)
		if l.torn() {
			l.outvote(ctx)
		}
	}
	r.noteHeal(l.as)
	return l.answer()
}

// lookupKeys adds to the keys that a lookup brings those that replicate wants.
// GlusterFS bricks would give an object without a GFID the one that gfid-req
// names, each on its own; that is for healers.
func (r *replicate) lookupKeys(q *fop.Lookup) *fop.Dict {
	ours := r.askDiscover
	if q.Name != "" {
		ours = r.askLookup
	}
	if q.XData.Len() == 0 {
		return ours
	}
	d := fop.NewDict()
	d.Grow(ours.Len() + q.XData.Len())
	for _, p := range ours.Pairs() {
		d.Append(p.Key, p.Val)
	}
	for _, p := range q.XData.Pairs() {
		if p.Key != fop.KeyGFIDReq && !ours.Has(p.Key) {
			d.Append(p.Key, p.Val)
		}
	}
	return d
}

// noteHeal keeps whether any brick has notes of things to heal. One that does
// not say counts as one that has.
func (r *replicate) noteHeal(as []answer) {
	need := false
	for i := range as {
		if as[i].sent && (as[i].err != nil && as[i].reply == nil || !as[i].xdata().Has(keyVolumeCount) || as[i].xdata().Int(keyVolumeCount) != 0) {
			need = true
		}
	}
	if r.needHeal.Load() != need {
		r.needHeal.Store(need)
	}
}

// looking is a lookup whose answers are there.
type looking struct {
	r    *replicate
	q    *fop.Lookup
	v    view
	as   []answer
	good set

	seen uint32
	sure bool // seen is that of the object
	mine bool // the name was locked, by the lookup itself
}

func (l *looking) reply(i int) *fop.LookupReply { return replyOf[*fop.LookupReply](l.as, i) }

// answer decides what to make of the answers.
func (l *looking) answer() (fop.Reply, error) {
	r := l.r
	locked, absent := false, false
	for i := range l.as {
		x := l.as[i].xdata()
		if x.Has(keyGFIDChanged) {
			return nil, fmt.Errorf("%s: lookup %s: another object has taken the name: %w", r.name, l.what(), syscall.ESTALE)
		}
		locked = locked || x.Int(fop.KeyParentEntrylk) > 0 && !l.mine
		absent = absent || l.as[i].err != nil && fop.Errno(l.as[i].err) == syscall.ENOENT
	}
	quorate := r.allows(l.good, l.q)
	parent := l.parentReadable()
	candidate := -1
	for i := range l.good.each {
		if candidate < 0 || !parent.has(candidate) {
			candidate = i
		}
	}
	switch {
	case candidate < 0:
		return nil, r.failure("lookup", l.as)
	case absent && locked && !quorate: // being made by somebody else
		return nil, fmt.Errorf("%s: lookup %s: %w", r.name, l.what(), syscall.ENOENT)
	}
	same, err := l.agree(candidate, locked, parent)
	if err != nil {
		return nil, err
	}
	child, odd := -1, true
	if same && quorate {
		child, odd = l.learn(candidate)
	}
	if child < 0 {
		odd = true
		if child, err = l.fallback(candidate); err != nil {
			return nil, err
		}
	}
	if child == r.arbiter {
		return nil, fmt.Errorf("%s: lookup %s: the only good copy that can be reached is the arbiter's, which has no data: %w", r.name, l.what(), syscall.ENOTCONN)
	}
	return l.compose(child, parent, odd), nil
}

// allows reports whether the children in s are enough for a lookup.
func (r *replicate) allows(s set, q *fop.Lookup) bool {
	if r.conf.Load().quorum.met(s) {
		return true
	}
	return s != 0 && q.Cred.PID == fop.PIDAddReplica && q.Name == "" && q.GFID.IsRoot()
}

func (l *looking) what() string {
	if l.q.Name != "" {
		return fmt.Sprintf("%v/%s", l.q.Parent, l.q.Name)
	}
	return l.q.GFID.String()
}

// parentReadable is which children have a good copy of the directory in which
// the name was looked up, as far as is known: all if nothing is.
func (l *looking) parentReadable() set {
	if l.q.Name != "" {
		if o := l.r.objects.Peek(l.q.Parent); o != nil {
			defer o.Release()
			if m, ok := o.V.last(); ok {
				return m.data
			}
		}
	}
	return all(l.r.n)
}

// agree compares the GFIDs of all that were found. A difference is tolerated
// where somebody is about to make or remove the name, or where only a child whose
// directory is not good differs.
func (l *looking) agree(candidate int, locked bool, parent set) (same bool, err error) {
	g := l.reply(candidate).Stat.GFID
	same = true
	for i := range l.good.each {
		other := &l.reply(i).Stat
		if other.GFID == g {
			continue
		}
		same = false
		if locked || parent.has(candidate) && !parent.has(i) || l.q.XData.Has(keyHealMessage) {
			continue
		}
		return false, fmt.Errorf("%s: lookup %s: %v on %s and %v on %s (split-brain of the directory): %w", l.r.name, l.what(),
			g, l.r.children[candidate].Name, other.GFID, l.r.children[i].Name, syscall.EIO)
	}
	return same, nil
}

// learn keeps which copies are readable and returns the child to read from, -1 if
// there is none, and whether some copy is not good.
func (l *looking) learn(candidate int) (child int, odd bool) {
	r := l.r
	f := r.interpret(l.as)
	g := l.reply(candidate).Stat.GFID
	o := r.acquire(g)
	defer o.Release()
	o.V.setType(f.kind)
	o.V.learn(f.maps, l.v.gen)
	if f.passing {
		o.V.suspect()
	} else if l.sure && g == l.q.GFID {
		o.V.heed(l.seen)
	}
	return r.choose(f.both()&l.good, g, f.kind == fop.ModeDir), f.accused != 0 || f.passing
}

// fallback is the child that answers although none is known to be good: the one
// that somebody chose, or without quorum any.
func (l *looking) fallback(candidate int) (int, error) {
	r := l.r
	if l.good == all(r.n) {
		if o := r.objects.Peek(l.reply(candidate).Stat.GFID); o != nil {
			i := o.V.chosen()
			o.Release()
			if i >= 0 {
				return i, nil
			}
		}
	}
	if !r.conf.Load().quorum.on() || l.q.Cred.PID == fop.PIDGlfsHeal {
		return l.good.first(), nil
	}
	return -1, fmt.Errorf("%s: lookup %s: no copy that can be reached is known to be good: %w", r.name, l.what(), syscall.ENOTCONN)
}

// compose makes the reply: the object as child knows it, its directory as the
// child from which that is read knows it.
func (l *looking) compose(child int, parent set, odd bool) *fop.LookupReply {
	reply := l.reply(child)
	if l.q.Name != "" {
		if i := l.r.choose(parent&l.good, l.q.Parent, true); i >= 0 && i != child {
			reply.Parent = l.reply(i).Parent
		}
	}
	if odd && reply.XData.Has(fop.KeyContent) {
		reply.XData = reply.XData.Clone()
		reply.XData.Delete(fop.KeyContent)
	}
	return reply
}
