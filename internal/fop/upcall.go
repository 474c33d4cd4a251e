package fop

// UpcallKind says what an Upcall tells.
type UpcallKind uint32

// Kinds of upcall; the first four have GlusterFS's numbers.
const (
	UpcallInvalidate   UpcallKind = 1 // another client changed the object
	UpcallRecallLease  UpcallKind = 2
	UpcallInodelk      UpcallKind = 3 // somebody waits for an inode lock we hold
	UpcallEntrylk      UpcallKind = 4 // somebody waits for an entry lock we hold
	UpcallChildUp      UpcallKind = 100
	UpcallChildDown    UpcallKind = 101
	UpcallInodeForget  UpcallKind = 102
	UpcallFetchSpec    UpcallKind = 103
	UpcallGetSnapshots UpcallKind = 104
)

// Bits of Upcall.Flags for UpcallInvalidate.
const (
	InvalNlink          = 0x1
	InvalMode           = 0x2
	InvalOwn            = 0x4
	InvalSize           = 0x8
	InvalTimes          = 0x10
	InvalAtime          = 0x20
	InvalPerm           = 0x40
	InvalRename         = 0x80
	InvalForget         = 0x100
	InvalParentTimes    = 0x200
	InvalXattr          = 0x400
	InvalXattrRm        = 0x800
	InvalExplicitLookup = 0x1000
	InvalAttr           = 0x2000
)

// Upcall is a notice from a brick to one of its clients.
type Upcall struct {
	Kind  UpcallKind
	GFID  GFID
	Flags uint32 // Inval… bits
	// Expire is for how long, in seconds, the attributes may still be cached.
	Expire                  uint32
	Stat, Parent, OldParent Iatt
	Flock                   Flock    // the held lock, for UpcallInodelk
	LockType                uint32   // for UpcallEntrylk
	PID                     uint32   // of the holder
	Name, Domain            string   // for UpcallEntrylk; Domain also for UpcallInodelk
	LeaseType               uint32   // for UpcallRecallLease
	LeaseID                 [16]byte // for UpcallRecallLease
	XData                   *Dict
}

// EventKind says what an Event tells.
type EventKind int

// Events travel up the graph, from child to parent.
const (
	EventChildUp         EventKind = iota + 1 // the child can serve
	EventChildDown                            // the child lost its brick
	EventChildConnecting                      // the child failed to connect and keeps trying; Err says why
	EventAuthFailed                           // the brick refuses us for good; Err says why
	EventVolfileModified                      // the brick says that our volfile is old
	EventUpcall                               // Upcall is set
	EventNoticesLost                          // a brick may have had upcalls for us that we did not get
)

// Event is what a translator tells its parents. Parents that do not care pass
// it on.
type Event struct {
	Kind   EventKind
	From   string // volume name of the translator where it began
	Err    error
	Upcall *Upcall
}
