package leases

import (
	"slices"
	"time"

	"github.com/wythefs/wythe/internal/fop"
)

// Commands and types of leases on the wire.
const (
	getLease    = 1
	setLease    = 2
	unlockLease = 3

	readLease  = 1
	writeLease = 2
)

// use is what a fop does to a file.
type use int

const (
	reads use = iota
	writes
	removes
)

func access(flags uint32) use {
	if flags&fop.OAccmode != fop.ORdonly || flags&(fop.OTrunc|fop.OAppend) != 0 {
		return writes
	}
	return reads
}

// keyLeaseID is in the xdata of requests of an application with leases.
const keyLeaseID = "lease-id"

func leaseID(x *fop.Dict) (id [16]byte) {
	if b := x.Bytes(keyLeaseID); len(b) >= len(id) {
		copy(id[:], b)
	}
	return id
}

// held is a lease.
type held struct {
	client *fop.Client
	id     [16]byte
	typ    uint32
}

// opening is an open file.
type opening struct {
	client *fop.Client
	fd     *fop.Fd
	id     [16]byte
	writes bool
}

// file is what is known of one file.
type file struct {
	leases   []held
	opens    []opening
	recalled chan struct{} // not nil while leases are called back; closed when they are gone
	since    time.Time
}

// typ is the strongest lease that there is.
func (f *file) typ() (t uint32) {
	for _, h := range f.leases {
		t = max(t, h.typ)
	}
	return t
}

// grant gives a lease if nobody is in its way.
func (f *file) grant(c *fop.Client, id [16]byte, typ uint32) bool {
	if f.recalled != nil {
		return false
	}
	for _, o := range f.opens {
		if o.id != id && (typ == writeLease || o.writes) {
			return false
		}
	}
	mine := -1
	for i, h := range f.leases {
		if h.id == id && h.client == c {
			mine = i
		} else if h.id != id && (typ == writeLease || h.typ == writeLease) {
			return false
		}
	}
	if mine >= 0 {
		f.leases[mine].typ = typ
	} else {
		f.leases = append(f.leases, held{c, id, typ})
	}
	return true
}

// conflicts reports whether a fop of c with this lease id must wait.
func (f *file) conflicts(c *fop.Client, id [16]byte, how use) bool {
	if len(f.leases) == 0 {
		return false
	}
	if how == removes || id == ([16]byte{}) {
		return true
	}
	for _, h := range f.leases {
		if h.id != id && (h.typ == writeLease || how == writes) {
			return true
		}
	}
	return false
}

// recall begins to call the leases back, and returns the holders to be told.
func (f *file) recall() (tell []*fop.Client) {
	if f.recalled != nil {
		return nil
	}
	f.recalled, f.since = make(chan struct{}), time.Now()
	for _, h := range f.leases {
		if h.client != nil && !slices.Contains(tell, h.client) {
			tell = append(tell, h.client)
		}
	}
	return tell
}

// settled ends a recall if no lease is left.
func (f *file) settled() {
	if f.recalled != nil && len(f.leases) == 0 {
		close(f.recalled)
		f.recalled = nil
	}
}

func (f *file) giveBack(c *fop.Client, id [16]byte) bool {
	n := len(f.leases)
	f.leases = slices.DeleteFunc(f.leases, func(h held) bool { return h.client == c && h.id == id })
	f.settled()
	return len(f.leases) < n
}

// drop forgets open files, and leases whose holder had only those open.
func (f *file) drop(gone func(*fop.Client, *fop.Fd) bool) {
	had := map[held]bool{}
	f.opens = slices.DeleteFunc(f.opens, func(o opening) bool {
		if gone(o.client, o.fd) {
			had[held{client: o.client, id: o.id}] = true
			return true
		}
		return false
	})
	for _, o := range f.opens {
		delete(had, held{client: o.client, id: o.id})
	}
	f.leases = slices.DeleteFunc(f.leases, func(h held) bool {
		return gone(h.client, nil) || had[held{client: h.client, id: h.id}]
	})
	f.settled()
}
