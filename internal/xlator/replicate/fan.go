package replicate

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// answer is what one child made of a request. One that was not asked has
// neither sent nor an error.
type answer struct {
	sent  bool
	reply fop.Reply
	err   error
}

func (a *answer) ok() bool { return a.sent && a.err == nil }

// xdata returns the extra keys of the reply, nil if there are none.
func (a *answer) xdata() *fop.Dict {
	if a.reply == nil {
		return nil
	}
	return a.reply.ReplyHead().XData
}

// fan sends one request to all children of a set at once and waits for their
// answers, which it writes into as, one per child of the volume. It returns the
// set of those that succeeded.
func (r *replicate) fan(ctx context.Context, to set, req fop.Request, as []answer) set {
	var waits [maxChildren]fop.Pending
	for i := range as {
		as[i] = answer{}
		if to.has(i) {
			waits[i] = fop.Start(ctx, r.children[i].Handler, req)
		}
	}
	return collect(to, &waits, as)
}

// fanEach is fan with a request for each child. A child whose request is nil is
// not asked.
func (r *replicate) fanEach(ctx context.Context, to set, req func(i int) fop.Request, as []answer) set {
	var waits [maxChildren]fop.Pending
	for i := range as {
		as[i] = answer{}
		if !to.has(i) {
			continue
		}
		if q := req(i); q != nil {
			waits[i] = fop.Start(ctx, r.children[i].Handler, q)
		}
	}
	return collect(to, &waits, as)
}

func collect(to set, waits *[maxChildren]fop.Pending, as []answer) (good set) {
	for i := range to.each {
		if i >= len(as) || waits[i] == nil {
			continue
		}
		reply, err := waits[i].Wait()
		as[i] = answer{sent: true, reply: reply, err: err}
		if err == nil && reply == nil {
			as[i].err = fmt.Errorf("child %d answered nothing: %w", i, syscall.EPROTO)
		}
		if as[i].err == nil {
			good = good.with(i)
		}
	}
	return good
}

// replyOf returns what child i answered as the type that belongs to the
// request, nil if it did not succeed.
func replyOf[R fop.Reply](as []answer, i int) (reply R) {
	if i >= 0 && i < len(as) && as[i].ok() {
		reply, _ = as[i].reply.(R)
	}
	return reply
}

// failure is the error of a fop that all children of a set failed, or too many.
func (r *replicate) failure(what string, as []answer) error {
	if err := best(as); err != nil {
		return err
	}
	return fmt.Errorf("%s: %s: too few copies answered: %w", r.name, what, syscall.ENOTCONN)
}
