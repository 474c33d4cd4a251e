//go:build linux

package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// kind is one of the lists.
type kind int

const (
	pending kind = iota
	dirty
	changes
	kinds
)

// dirNames are the directories of the lists, and the beginnings of the names of
// their base files.
var dirNames = [kinds]string{"xattrop", "dirty", "entry-changes"}

// store is the lists on disk.
type store struct {
	base string

	mu       sync.RWMutex  // W: while the pending list is counted or a base file is replaced
	uuid     [kinds]string // of our base file
	counted  bool
	nPending int
	nMu      sync.Mutex // guards nPending under mu.RLock
}

func openStore(base string) (*store, error) {
	s := &store{base: base}
	// Mode 0600 as GlusterFS makes them; a brick without root needs to enter.
	mode := os.FileMode(0o600)
	if os.Geteuid() != 0 {
		mode = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o700); err != nil {
		return nil, err
	}
	for _, dir := range append([]string{""}, dirNames[:]...) {
		if err := os.Mkdir(filepath.Join(base, dir), mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	for k := range s.uuid {
		s.uuid[k] = fop.NewGFID().String()
	}
	return s, nil
}

func (s *store) dir(k kind) string { return filepath.Join(s.base, dirNames[k]) }

func (s *store) isBase(k kind, name string) bool { return strings.HasPrefix(name, dirNames[k]+"-") }

// link makes path an entry of list k. It reports whether it is new.
func (s *store) link(k kind, path string) (bool, error) {
	for try := 0; ; try++ {
		s.mu.RLock()
		uuid := s.uuid[k]
		base := filepath.Join(s.dir(k), dirNames[k]+"-"+uuid)
		err := os.Link(base, path)
		if err == nil && k == pending {
			s.count(+1)
		}
		s.mu.RUnlock()
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, fs.ErrExist):
			return false, nil
		case try >= 4:
			return false, fmt.Errorf("index entry: %w", err)
		case errors.Is(err, syscall.EMLINK):
			s.mu.Lock()
			if s.uuid[k] == uuid {
				s.uuid[k] = fop.NewGFID().String()
			}
			s.mu.Unlock()
		case errors.Is(err, fs.ErrNotExist):
			// The base file, or for a name the directory, is not there (any more).
			if k == changes {
				if err := s.mkdir(filepath.Dir(path)); err != nil {
					return false, err
				}
			}
			f, err := os.OpenFile(base, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0)
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return false, fmt.Errorf("index base file: %w", err)
			}
			if err == nil {
				f.Close()
			}
		default:
			return false, fmt.Errorf("index entry: %w", err)
		}
	}
}

func (s *store) mkdir(path string) error {
	mode := os.FileMode(0o600)
	if os.Geteuid() != 0 {
		mode = 0o700
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("index directory: %w", err)
	}
	return nil
}

// count notes a change of the pending list; mu is held.
func (s *store) count(d int) {
	s.nMu.Lock()
	s.nPending = max(s.nPending+d, 0)
	s.nMu.Unlock()
}

// add puts an object on list k.
func (s *store) add(k kind, g fop.GFID) error {
	_, err := s.link(k, filepath.Join(s.dir(k), g.String()))
	return err
}

// remove takes an object off list k. It need not be on it.
func (s *store) remove(k kind, g fop.GFID) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := syscall.Unlink(filepath.Join(s.dir(k), g.String()))
	if err == nil && k == pending {
		s.count(-1)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("index entry %v: %w", g, err)
	}
	return nil
}

// nameOK reports whether a name can be an entry of a directory.
func nameOK(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}

func (s *store) changesDir(g fop.GFID) string { return filepath.Join(s.dir(changes), g.String()) }

// addName notes that a name of directory g changed.
func (s *store) addName(g fop.GFID, name string) error {
	if !nameOK(name) {
		return fmt.Errorf("index of name %q: %w", name, syscall.EINVAL)
	}
	_, err := s.link(changes, filepath.Join(s.changesDir(g), name))
	return err
}

// removeName takes that back. The error is ENOENT if it was not noted.
func (s *store) removeName(g fop.GFID, name string) error {
	if !nameOK(name) {
		return fmt.Errorf("index of name %q: %w", name, syscall.EINVAL)
	}
	return syscall.Unlink(filepath.Join(s.changesDir(g), name))
}

// purge forgets all changed names of directory g. What is left in it vanishes in
// one step.
func (s *store) purge(g fop.GFID) error {
	dir := s.changesDir(g)
	err := syscall.Rmdir(dir)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		aside := s.changesDir(fop.NewGFID())
		if err = os.Rename(dir, aside); err == nil {
			err = os.RemoveAll(aside)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("index of directory %v: %w", g, err)
	}
	return nil
}

// entries counts the entries of list k.
func (s *store) entries(k kind) (n int, err error) {
	d, err := os.Open(s.dir(k))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if !s.isBase(k, name) {
				n++
			}
		}
		if len(names) == 0 || err != nil {
			return n, nil
		}
	}
}

// anyPending reports whether the pending list has entries.
func (s *store) anyPending() bool {
	s.mu.RLock()
	if s.counted {
		s.nMu.Lock()
		n := s.nPending
		s.nMu.Unlock()
		s.mu.RUnlock()
		return n > 0
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.counted {
		n, err := s.entries(pending)
		if err != nil {
			return true // to be looked at
		}
		s.nPending, s.counted = n, true
	}
	return s.nPending > 0
}

// recount makes the next anyPending look at the disk.
func (s *store) recount() {
	s.mu.Lock()
	s.counted = false
	s.mu.Unlock()
}
