package distribute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// acquire takes locks on files and on names. At first it tries all of them at
// once: mostly nobody else wants them, and then it took one round trip. If one
// is taken, those that were to be had are given back and all are waited for one
// after the other in the order that all clients keep. Who only tries does not
// wait, so that the order is not needed for it. Errors that tolerate accepts
// leave a lock on a file out.
func (k *locks) acquire(ctx context.Context, files []inodelk, names []entrylk, tolerate func(inodelk, error) bool) error {
	slices.SortFunc(names, entrylk.compare)
	names = slices.Compact(names)
	nodes := slices.Clone(files)
	for _, w := range names {
		if n := (inodelk{w.on, w.parent, domainLayout, fop.LockRead}); !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	pend := make([]fop.Pending, 0, len(nodes)+len(names))
	for _, w := range nodes {
		pend = append(pend, w.on.Start(ctx, w.request(k.owner, w.kind, fop.LkSet)))
	}
	for _, w := range names {
		pend = append(pend, w.on.Start(ctx, w.request(k.owner, fop.EntrylkTry)))
	}
	got := &locks{d: k.d, owner: k.owner}
	var failed error
	busy := false
	for i, p := range pend {
		_, err := p.Wait()
		switch {
		case err == nil && i < len(nodes):
			got.nodes = append(got.nodes, nodes[i])
		case err == nil:
			got.names = append(got.names, names[i-len(nodes)])
		case errors.Is(err, syscall.EAGAIN):
			busy = true
		case i < len(nodes) && tolerate != nil && tolerate(nodes[i], err):
		case failed == nil:
			failed = fmt.Errorf("lock: %w", err)
		}
	}
	if failed == nil && !busy {
		k.nodes = append(k.nodes, got.nodes...)
		k.names = append(k.names, got.names...)
		return nil
	}
	got.unlock(ctx)
	if failed != nil {
		return failed
	}
	// What was given back may arrive after what is asked for now: only another
	// owner keeps the two apart.
	k.owner, k.waited = newOwner(), true
	for _, w := range files {
		if err := k.inodelk(ctx, w); err != nil && (tolerate == nil || !tolerate(w, err)) {
			k.unlock(ctx)
			return err
		}
	}
	if err := k.protect(ctx, names...); err != nil {
		k.unlock(ctx)
		return err
	}
	return nil
}

// tryFile takes one more lock on a file if nobody has it.
func (k *locks) tryFile(ctx context.Context, w inodelk) error {
	if _, err := fop.Call(ctx, w.on, w.request(k.owner, w.kind, fop.LkSet)); err != nil {
		return err
	}
	k.nodes = append(k.nodes, w)
	return nil
}
