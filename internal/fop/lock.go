package fop

// Lock commands of Lk and Inodelk.
const (
	LkGet       = 0
	LkSet       = 1
	LkSetWait   = 2
	LkResLck    = 3
	LkResLckW   = 4
	LkResUnlck  = 5
	LkGetFd     = 6
	EntrylkLock = 0 // waits
	EntrylkFree = 1
	EntrylkTry  = 2 // EAGAIN when it would wait
)

// Lock types of Flock, Inodelk and Entrylk.
const (
	LockRead   = 0
	LockWrite  = 1
	LockUnlock = 2
	LockEOL    = 3
)

// Flock is a byte range of a file and who locks it.
type Flock struct {
	Type   uint32 // Lock… constant
	Whence uint32 // 0 start, 1 current, 2 end of file; clients send 0
	Start  uint64 // bytes; a signed number in disguise
	Len    uint64 // bytes; 0 means to the end of the file and beyond
	PID    uint32
	Owner  string // lock owner; empty in Inodelk, where the credential has it
}

// LockInfo is one posix lock as Getactivelk lists it.
type LockInfo struct {
	Flock     Flock
	ClientUID string
	Flags     uint32
}

// LeaseInfo describes a lease request or its state.
type LeaseInfo struct {
	Cmd   uint32 // 1 get, 2 set, 3 unlock
	Type  uint32 // 0 none, 1 read, 2 read-write
	ID    [16]byte
	Flags uint32
}
