package manage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	stateFile = "wythe.json"
	lockFile  = "wythe.lock"
)

// state is what Up keeps in its directory.
type state struct {
	Format int     `json:"format"` // 1
	Volume *Volume `json:"volume"`
	// Ready is false from the first start until all bricks are prepared: only
	// then may a missing brick directory be made.
	Ready bool `json:"ready"`
	// Ports are those that the bricks listened on last. They get them again if
	// they can, so that clients which know them find them after a crash.
	Ports []int `json:"ports,omitempty"`
}

// loadState reads the state of a cluster directory; nil if there is none.
func loadState(dir string) (*state, error) {
	name := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %v: restore it from a copy, or give another directory: %w", name, err, syscall.EINVAL)
	}
	if s.Format != 1 || s.Volume == nil {
		return nil, fmt.Errorf("%s has format %d and this program knows format 1 only: use the program that wrote it: %w", name, s.Format, syscall.EINVAL)
	}
	if err := s.Volume.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// save writes the state in one step: after a crash there is the old one or the
// new one.
func (s *state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, stateFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	_, err = tmp.Write(append(b, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the lock that keeps a second process off dir. It lasts until
// the file is closed or the process ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		var pid int
		fmt.Fscan(f, &pid)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by process %d: stop it, or give another directory: %w", dir, pid, syscall.EBUSY)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}
