package conformance

import (
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

func (s *suite) lk(fd *fop.Fd, owner string, cmd, typ uint32, start, length uint64) (fop.Flock, error) {
	h := s.head()
	h.Cred.Owner = owner
	r, err := fop.Call(s.ctx, s.h, &fop.Lk{Header: h, GFID: fd.GFID, Fd: fd, Cmd: cmd, Type: typ,
		Flock: fop.Flock{Type: typ, Start: start, Len: length, PID: uint32(h.Cred.PID), Owner: owner}})
	if err != nil {
		return fop.Flock{}, err
	}
	return r.Flock, nil
}

func (s *suite) lockFile() (*fop.Fd, bool) {
	if !s.opts.Locks {
		s.Log("does not apply: the stack has no posix locks")
		return nil, false
	}
	return s.create(fop.RootGFID, "f"), true
}

// Two owners of posix locks.
const (
	alice = "alice678"
	bob   = "bob45678"
)

func locksCase(s *suite) {
	fd, ok := s.lockFile()
	if !ok {
		return
	}
	_, err := s.lk(fd, alice, fop.LkSet, fop.LockWrite, 10, 10)
	s.ok(err, "lock")
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockWrite, 10, 10)
	s.ok(err, "the same lock again")
	for _, r := range [][2]uint64{{10, 10}, {0, 11}, {19, 1}, {0, 0}, {15, 0}} {
		for _, typ := range []uint32{fop.LockRead, fop.LockWrite} {
			_, err = s.lk(fd, bob, fop.LkSet, typ, r[0], r[1])
			s.fails(err, "a conflicting lock", syscall.EAGAIN)
		}
	}
	got, err := s.lk(fd, bob, fop.LkGet, fop.LockWrite, 0, 0)
	s.ok(err, "getlk")
	if got.Type != fop.LockWrite || got.Start != 10 || got.Len != 10 {
		s.Errorf("getlk: %+v", got)
	}
	_, err = s.lk(fd, bob, fop.LkSet, fop.LockWrite, 20, 0)
	s.ok(err, "a lock beside it")
	_, err = s.lk(fd, bob, fop.LkSet, fop.LockWrite, 0, 10)
	s.ok(err, "a lock before it")
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockUnlock, 10, 10)
	s.ok(err, "unlock")
	_, err = s.lk(fd, bob, fop.LkSet, fop.LockRead, 10, 10)
	s.ok(err, "a read lock")
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockRead, 10, 10)
	s.ok(err, "a second read lock")
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockWrite, 10, 10)
	s.fails(err, "an upgrade over a foreign read lock", syscall.EAGAIN)
	for _, owner := range []string{alice, bob} {
		_, err = s.lk(fd, owner, fop.LkSet, fop.LockUnlock, 0, 0)
		s.ok(err, "unlock of all")
	}
	got, err = s.lk(fd, bob, fop.LkGet, fop.LockWrite, 0, 0)
	s.ok(err, "getlk")
	if got.Type != fop.LockUnlock {
		s.Errorf("getlk of a free file: %+v", got)
	}
}

// locksSplitCase unlocks the middle of a lock and changes the type of a part.
func locksSplitCase(s *suite) {
	fd, ok := s.lockFile()
	if !ok {
		return
	}
	for _, l := range []struct {
		typ        uint32
		start, len uint64
	}{{fop.LockWrite, 0, 10}, {fop.LockWrite, 10, 10}, {fop.LockRead, 3, 4}, {fop.LockUnlock, 14, 2}} {
		_, err := s.lk(fd, alice, fop.LkSet, l.typ, l.start, l.len)
		s.ok(err, "lock")
	}
	// Now W 0+3, R 3+4, W 7+7, free 14+2, W 16+4.
	for at, want := range map[uint64]uint32{0: fop.LockWrite, 2: fop.LockWrite, 3: fop.LockRead, 6: fop.LockRead, 7: fop.LockWrite,
		13: fop.LockWrite, 14: fop.LockUnlock, 15: fop.LockUnlock, 16: fop.LockWrite, 19: fop.LockWrite, 20: fop.LockUnlock} {
		got, err := s.lk(fd, bob, fop.LkGet, fop.LockWrite, at, 1)
		s.ok(err, "getlk")
		if got.Type != want {
			s.Errorf("byte %d has lock type %d, want %d", at, got.Type, want)
		}
	}
}

func locksWaitCase(s *suite) {
	fd, ok := s.lockFile()
	if !ok {
		return
	}
	_, err := s.lk(fd, alice, fop.LkSet, fop.LockWrite, 0, 0)
	s.ok(err, "lock")
	var released atomic.Bool
	done := make(chan error)
	go func() {
		_, err := s.lk(fd, bob, fop.LkSetWait, fop.LockWrite, 5, 5)
		if err == nil && !released.Load() {
			s.Error("a waiting lock was granted over a conflicting one")
		}
		done <- err
	}()
	// While one waits others can work.
	s.write(fd, 0, "x")
	released.Store(true)
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockUnlock, 0, 0)
	s.ok(err, "unlock")
	s.ok(<-done, "the waiting lock")
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockRead, 9, 1)
	s.fails(err, "a lock over the one that waited", syscall.EAGAIN)
}

func locksFlushCase(s *suite) {
	fd, ok := s.lockFile()
	if !ok {
		return
	}
	_, err := s.lk(fd, alice, fop.LkSet, fop.LockWrite, 0, 0)
	s.ok(err, "lock")
	h := s.head()
	h.Cred.Owner = alice
	_, err = fop.Call(s.ctx, s.h, &fop.Flush{Header: h, GFID: fd.GFID, Fd: fd})
	s.ok(err, "flush")
	_, err = s.lk(fd, bob, fop.LkSet, fop.LockWrite, 0, 0)
	s.ok(err, "lock after the flush of its holder")

	second := s.openFile(fd.GFID, fop.ORdwr)
	_, err = s.lk(second, bob, fop.LkSet, fop.LockUnlock, 0, 0)
	s.ok(err, "unlock")
	_, err = s.lk(second, bob, fop.LkSet, fop.LockWrite, 0, 0)
	s.ok(err, "lock")
	s.release(second)
	_, err = s.lk(fd, alice, fop.LkSet, fop.LockWrite, 0, 0)
	s.ok(err, "lock after the release of the file that held it")
}
