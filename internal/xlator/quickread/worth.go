package quickread

import (
	"sync"

	"github.com/wythefs/wythe/internal/fop"
)

// worth guesses in which directories it is worth while to bring the contents of
// files along that are only looked up. Each directory has credit: contents that
// come along cost one, contents that are read bring back two, and so does the
// read of a small file whose contents did not come.
type worth struct {
	mu   sync.Mutex
	dirs map[fop.GFID]int8
}

const (
	firstCredit = 4
	mostCredit  = 16
	maxDirs     = 4096 // with more, it begins anew
)

// spend reports whether contents are worth asking for, and takes the price.
func (w *worth) spend(dir fop.GFID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.credit(dir)
	if n <= 0 {
		return false
	}
	w.dirs[dir] = n - 1
	return true
}

// earn tells that contents were, or would have been, of use; cost is what was
// spent for nothing in the answer: a directory, or a large file.
func (w *worth) earn(dir fop.GFID, n int8) {
	if dir.IsZero() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs[dir] = min(w.credit(dir)+n, mostCredit)
}

func (w *worth) credit(dir fop.GFID) int8 {
	if n, ok := w.dirs[dir]; ok {
		return n
	}
	if w.dirs == nil || len(w.dirs) >= maxDirs {
		w.dirs = make(map[fop.GFID]int8)
	}
	return firstCredit
}
