package replicate

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

const (
	keySplitChoice  = "replica.split-brain-choice"
	keySplitTimeout = "replica.split-brain-choice-timeout" // minutes
	keySplitFinal   = "replica.split-brain-heal-finalize"
	keyReplaceBrick = "trusted.replace-brick"
	keyAddBrick     = "trusted.add-brick"

	// choiceTime is how long a choice among copies in split-brain lasts.
	choiceTime = 5 * time.Minute
)

// internalXattr reports whether nobody but replicate itself may set or remove an
// xattr.
func internalXattr(name string) bool {
	return strings.HasPrefix(name, "trusted.afr.") || strings.HasPrefix(name, "trusted.glusterfs.afr.")
}

func (r *replicate) refuseInternal(d *fop.Dict) error {
	for _, p := range d.Pairs() {
		if internalXattr(p.Key) {
			return fmt.Errorf("%s: setxattr %s: kept for the volume itself: %w", r.name, p.Key, syscall.EPERM)
		}
	}
	return nil
}

func (r *replicate) fsetxattr(ctx context.Context, q *fop.Fsetxattr) (fop.Reply, error) {
	if err := r.refuseInternal(q.Dict); err != nil {
		return nil, err
	}
	return r.transact(ctx, q)
}

// setxattr sets xattrs, or obeys a command in the shape of one.
func (r *replicate) setxattr(ctx context.Context, q *fop.Setxattr) (fop.Reply, error) {
	if err := r.refuseInternal(q.Dict); err != nil {
		return nil, err
	}
	for _, p := range q.Dict.Pairs() {
		switch p.Key {
		case keySplitChoice:
			return r.chooseCopy(ctx, q, p.Val.Text())
		case keySplitTimeout:
			n, ok := p.Val.Int()
			if !ok || n < 0 || n > int64(1<<31) {
				return nil, fmt.Errorf("%s: setxattr %s %q: not a number of minutes: %w", r.name, p.Key, p.Val.Text(), syscall.EINVAL)
			}
			r.choiceTime.Store(int64(time.Duration(n) * time.Minute))
			return &fop.CommonReply{}, nil
		case keySplitFinal:
			return r.finalize(q, p.Val.Text())
		case keyReplaceBrick, keyAddBrick:
			return r.changeBrick(q, p.Key, p.Val.Text())
		}
	}
	return r.transact(ctx, q)
}

// changeBrick is told that a brick is new and must get everything.
func (r *replicate) changeBrick(q *fop.Setxattr, key, child string) (fop.Reply, error) {
	if q.Cred.PID != fop.PIDAddReplica {
		return nil, fmt.Errorf("%s: setxattr %s: for management daemons only: %w", r.name, key, syscall.EPERM)
	}
	if r.childNamed(child) < 0 { // a brick of another set
		return &fop.CommonReply{}, nil
	}
	return nil, fmt.Errorf("%s: setxattr %s: this client cannot fill a new brick; add it with a GlusterFS node: %w", r.name, key, syscall.ENOTSUP)
}

// status looks at all copies: whether contents or metadata are in split-brain,
// and from which children one can choose.
func (r *replicate) status(ctx context.Context, cred *fop.Cred, g fop.GFID) (dataSplit, metaSplit bool, choices set, err error) {
	v := r.view()
	if err := r.gate(v, "split-brain status"); err != nil {
		return false, false, 0, err
	}
	o := r.acquire(g)
	defer o.Release()
	var buf [maxChildren]answer
	f, err := r.inspect(ctx, o, cred, nil, v, buf[:r.n])
	if err != nil {
		return false, false, 0, err
	}
	choices = f.good
	if r.arbiter >= 0 {
		choices = choices.without(r.arbiter)
	}
	return f.data == 0 && f.kind != fop.ModeDir, f.meta == 0, choices, nil
}

// splitStatus answers replica.split-brain-status.
func (r *replicate) splitStatus(ctx context.Context, req fop.Request, g fop.GFID) (fop.Reply, error) {
	dataSplit, metaSplit, choices, err := r.status(ctx, &req.Head().Cred, g)
	if err != nil {
		return nil, err
	}
	text := "The file is not under data or metadata split-brain"
	if dataSplit || metaSplit {
		var names []string
		for i := range choices.each {
			names = append(names, r.children[i].Name)
		}
		yes := map[bool]string{true: "yes", false: "no"}
		text = fmt.Sprintf("data-split-brain:%s    metadata-split-brain:%s    Choices:%s", yes[dataSplit], yes[metaSplit], strings.Join(names, ","))
	}
	b := append([]byte(text), 0)
	return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: keySplitStatus, Val: fop.Bytes(b)}), Size: int32(len(b))}, nil
}

// chooseCopy has an object in split-brain read from one child, for a time.
func (r *replicate) chooseCopy(ctx context.Context, q *fop.Setxattr, name string) (fop.Reply, error) {
	if name == "none" {
		r.choice(q.GFID, -1)
		return &fop.CommonReply{}, nil
	}
	child := r.childNamed(name)
	if child < 0 || child == r.arbiter {
		return nil, fmt.Errorf("%s: setxattr %s: %q has no copy of the volume's data: %w", r.name, keySplitChoice, name, syscall.EINVAL)
	}
	dataSplit, metaSplit, _, err := r.status(ctx, &q.Cred, q.GFID)
	switch {
	case err != nil:
		return nil, err
	case !dataSplit && !metaSplit:
		return nil, fmt.Errorf("%s: setxattr %s: %v is not in split-brain: %w", r.name, keySplitChoice, q.GFID, syscall.EINVAL)
	}
	r.choice(q.GFID, child)
	return &fop.CommonReply{}, nil
}

// choice keeps or, with -1, ends a choice. The object is held as long as it
// lasts.
func (r *replicate) choice(g fop.GFID, child int) {
	o := r.acquire(g)
	o.V.mu.Lock()
	had := o.V.choice.child != 0 && o.V.choice.timer.Stop()
	o.V.choice = splitChoice{child: child + 1}
	if child >= 0 {
		hold := o.Hold()
		var t *time.Timer
		t = time.AfterFunc(time.Duration(r.choiceTime.Load()), func() {
			hold.V.mu.Lock()
			if hold.V.choice.timer == t {
				hold.V.choice = splitChoice{}
			}
			hold.V.mu.Unlock()
			hold.Release()
		})
		o.V.choice.timer = t
	}
	o.V.mu.Unlock()
	if had {
		o.Release()
	}
	o.Release()
}

// endChoices ends all choices.
func (r *replicate) endChoices() {
	r.objects.Range(func(o *ref) bool {
		if o.V.chosen() >= 0 {
			r.choice(o.GFID, -1)
		}
		return true
	})
}

// finalize is told which copy of an object in split-brain is the good one. As in
// GlusterFS nothing comes of it where clients do not heal, except that a choice
// ends.
func (r *replicate) finalize(q *fop.Setxattr, name string) (fop.Reply, error) {
	if r.childNamed(name) < 0 {
		return nil, fmt.Errorf("%s: setxattr %s: %q is no copy: %w", r.name, keySplitFinal, name, syscall.EINVAL)
	}
	if r.conf.Load().clientHeals {
		return nil, fmt.Errorf("%s: setxattr %s: this client does not heal; use the heal commands of a node that does: %w", r.name, keySplitFinal, syscall.ENOTSUP)
	}
	r.choice(q.GFID, -1)
	return &fop.CommonReply{}, nil
}
