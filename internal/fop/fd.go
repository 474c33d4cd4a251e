package fop

import (
	"sync"
	"sync/atomic"
)

// Open flags, the values of Linux on x86 on every platform; they travel as
// they are.
const (
	ORdonly    = 0
	OWronly    = 1
	ORdwr      = 2
	OAccmode   = 3
	OExec      = 0o40
	OCreate    = 0o100
	OExcl      = 0o200
	ONoctty    = 0o400
	OTrunc     = 0o1000
	OAppend    = 0o2000
	ONonblock  = 0o4000
	ODsync     = 0o10000
	ODirect    = 0o40000
	OLargefile = 0o100000
	ODirectory = 0o200000
	ONofollow  = 0o400000
	ONoatime   = 0o1000000
	OCloexec   = 0o2000000
	OSync      = 0o4010000
)

// Fd is an open file or directory. Whoever issues Open, Opendir or Create makes
// it (the server on a brick, gfapi on a client) and passes it along in every
// fop on it until Release or Releasedir. Each translator may keep what it knows
// about the open file in a slot of its own.
type Fd struct {
	GFID  GFID
	Flags uint32  // O… flags of the open
	Dir   bool    // opened by Opendir
	PID   int32   // of the opener
	From  *Client // on a brick: whose it is; nil elsewhere
	Slots
}

// Slots holds one value per translator, keyed by anything comparable, usually
// the translator's own pointer. Reading takes no lock. The zero value is empty.
type Slots struct {
	mu  sync.Mutex
	all atomic.Pointer[[]slot]
}

type slot struct{ key, val any }

// Get returns the value stored under key, or nil.
func (s *Slots) Get(key any) any {
	p := s.all.Load()
	if p == nil {
		return nil
	}
	for i := range *p {
		if (*p)[i].key == key {
			return (*p)[i].val
		}
	}
	return nil
}

// Set stores val under key; nil removes it. It returns what was there before.
func (s *Slots) Set(key, val any) (old any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(key, val)
}

// GetOrSet returns the value under key, storing the result of mk first when
// there is none. mk runs at most once per key and must not use s.
func (s *Slots) GetOrSet(key any, mk func() any) any {
	if v := s.Get(key); v != nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.Get(key); v != nil {
		return v
	}
	v := mk()
	s.set(key, v)
	return v
}

func (s *Slots) set(key, val any) (old any) {
	var now []slot
	if p := s.all.Load(); p != nil {
		now = make([]slot, 0, len(*p)+1)
		for _, e := range *p {
			if e.key == key {
				old = e.val
			} else {
				now = append(now, e)
			}
		}
	}
	if val != nil {
		now = append(now, slot{key, val})
	}
	s.all.Store(&now)
	return old
}

// Client is, on a brick, one connected client: the identity that locks and open
// files belong to. The server makes it at SETVOLUME and sends Disconnect down
// the graph when it is gone.
type Client struct {
	ID        string // process-uuid of SETVOLUME, unique per connection
	Name      string // process-name, for people
	Addr      string // peer address, for people
	OpVersion uint32
	Trusted   bool // proved the volume's own username and password
	// Upcall sends a notice to the client. It never blocks and may be nil.
	Upcall func(*Upcall)
	Slots
}
