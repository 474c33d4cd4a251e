package replicate

import (
	"fmt"
	"syscall"
)

type quorumType int

const (
	quorumNone quorumType = iota
	quorumAuto
	quorumFixed
)

// quorum is the rule of how many children must take part for anything to happen.
type quorum struct {
	kind  quorumType
	count int // for fixed
	n     int // children
}

// on reports whether there is such a rule at all.
func (q quorum) on() bool { return q.kind == quorumAuto || q.kind == quorumFixed && q.count > 0 }

// met reports whether the children in s are enough. With auto, half of them are
// if the first is among them.
func (q quorum) met(s set) bool {
	switch {
	case !q.on():
		return true
	case q.kind == quorumFixed:
		return s.count() >= q.count
	case s.count()*2 == q.n:
		return s.has(0)
	}
	return s.count() >= q.n/2+1
}

// need is how many children met asks for, for messages and for heals.
func (q quorum) need() int {
	switch {
	case !q.on():
		return 0
	case q.kind == quorumFixed:
		return q.count
	}
	return q.n/2 + 1
}

// gate is what every fop must pass before it is sent to any child.
func (r *replicate) gate(v view, what string) error {
	if q := r.conf.Load().quorum; !q.met(v.up) {
		return fmt.Errorf("%s: %s: %d of %d copies are reachable, quorum asks for more: %w", r.name, what, v.up.count(), r.n, syscall.ENOTCONN)
	}
	return r.reach(v, what)
}

// reach is what a fop needs that is done without a quorum too.
func (r *replicate) reach(v view, what string) error {
	if v.up == 0 {
		return fmt.Errorf("%s: %s: no copy is reachable: %w", r.name, what, syscall.ENOTCONN)
	}
	if r.conf.Load().consistentIO && v.up != all(r.n) {
		return fmt.Errorf("%s: %s: option consistent-io is on and only %d of %d copies are reachable: %w", r.name, what, v.up.count(), r.n, syscall.ENOTCONN)
	}
	return nil
}
