package proto

import (
	"fmt"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xdr"
)

// Procedures of ProgCallback, which a server calls on its client's connection.
const (
	CallbackFetchSpec         = 1
	CallbackInodeFlush        = 2
	CallbackEventNotify       = 3
	CallbackGetSnaps          = 4
	CallbackCacheInvalidation = 5
	CallbackChildUp           = 6
	CallbackChildDown         = 7
	CallbackRecallLease       = 8
	CallbackStatedump         = 9
	CallbackInodelkContention = 10
	CallbackEntrylkContention = 11
)

// AppendUpcall appends the callback of u and returns its procedure. ok is false
// if u has none.
func AppendUpcall(b []byte, u *fop.Upcall) (body []byte, proc uint32, ok bool) {
	switch u.Kind {
	case fop.UpcallInvalidate:
		m := CacheInvalidation{
			GFID: u.GFID.String(), Event: uint32(fop.UpcallInvalidate), Flags: u.Flags, Expire: u.Expire,
			Stat: u.Stat, Parent: u.Parent, OldParent: u.OldParent, XData: u.XData,
		}
		return m.AppendXDR(b), CallbackCacheInvalidation, true
	case fop.UpcallRecallLease:
		m := RecallLease{GFID: u.GFID, Type: u.LeaseType, Tid: u.LeaseID, XData: u.XData}
		return m.AppendXDR(b), CallbackRecallLease, true
	case fop.UpcallInodelk:
		m := InodelkContention{GFID: u.GFID, Flock: u.Flock, PID: u.PID, Domain: u.Domain, XData: u.XData}
		return m.AppendXDR(b), CallbackInodelkContention, true
	case fop.UpcallEntrylk:
		m := EntrylkContention{GFID: u.GFID, Type: u.LockType, PID: u.PID, Name: u.Name, Domain: u.Domain, XData: u.XData}
		return m.AppendXDR(b), CallbackEntrylkContention, true
	case fop.UpcallChildUp:
		return b, CallbackChildUp, true
	case fop.UpcallChildDown:
		return b, CallbackChildDown, true
	case fop.UpcallInodeForget:
		return b, CallbackInodeFlush, true
	case fop.UpcallFetchSpec:
		return b, CallbackFetchSpec, true
	case fop.UpcallGetSnapshots:
		return b, CallbackGetSnaps, true
	}
	return b, 0, false
}

// DecodeCallback reads a callback of a brick. XData aliases body. Callbacks that
// are no Upcall (EVENT_NOTIFY, STATEDUMP) and unknown ones are ErrNoProc.
func DecodeCallback(proc uint32, body []byte) (*fop.Upcall, error) {
	u := new(fop.Upcall)
	var err error
	switch proc {
	case CallbackCacheInvalidation:
		var m CacheInvalidation
		if err = m.Decode(body); err != nil {
			break
		}
		*u = fop.Upcall{Kind: fop.UpcallInvalidate, Flags: m.Flags, Expire: m.Expire, Stat: m.Stat, Parent: m.Parent, OldParent: m.OldParent, XData: m.XData}
		if u.GFID, err = fop.ParseGFID(m.GFID); err != nil {
			err = fmt.Errorf("%w: %w", xdr.ErrInvalid, err)
		}
	case CallbackRecallLease:
		var m RecallLease
		err = m.Decode(body)
		*u = fop.Upcall{Kind: fop.UpcallRecallLease, GFID: m.GFID, LeaseType: m.Type, LeaseID: m.Tid, XData: m.XData}
	case CallbackInodelkContention:
		var m InodelkContention
		err = m.Decode(body)
		*u = fop.Upcall{Kind: fop.UpcallInodelk, GFID: m.GFID, Flock: m.Flock, PID: m.PID, Domain: m.Domain, XData: m.XData}
	case CallbackEntrylkContention:
		var m EntrylkContention
		err = m.Decode(body)
		*u = fop.Upcall{Kind: fop.UpcallEntrylk, GFID: m.GFID, LockType: m.Type, PID: m.PID, Name: m.Name, Domain: m.Domain, XData: m.XData}
	case CallbackChildUp:
		u.Kind = fop.UpcallChildUp
	case CallbackChildDown:
		u.Kind = fop.UpcallChildDown
	case CallbackInodeFlush:
		u.Kind = fop.UpcallInodeForget
	case CallbackFetchSpec:
		u.Kind = fop.UpcallFetchSpec
	case CallbackGetSnaps:
		u.Kind = fop.UpcallGetSnapshots
	default:
		return nil, fmt.Errorf("%w: callback %d", ErrNoProc, proc)
	}
	if err != nil {
		return nil, fmt.Errorf("proto: callback %d: %w", proc, err)
	}
	return u, nil
}
