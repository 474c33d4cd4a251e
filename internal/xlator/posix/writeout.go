package posix

// A file that comes from front to back begins to go to disk while the rest of it is
// on its way. The kernel by itself waits until much memory is dirty or half a minute
// has passed; then whoever asks for an fsync, as a client with copies does after
// each file that it wrote, waits for the disk when it has waited for the network
// already. What is written here and there, or not much of, is left to the kernel,
// and so is a file without a name.
const (
	// writeOutFirst is how much must have come before the first time: what is less is
	// on disk soon, and often nobody asks for it.
	writeOutFirst = 64 << 20
	// writeOutStep is how much must have come since the last time.
	writeOutStep = 8 << 20
	// writeOutSlack is how far writes may be out of order: what a client has under
	// way at the same time, and some more.
	writeOutSlack = 4 << 20
	// maxWriteOuts is how many files of a brick are on their way at once. More than
	// that are enough for the disk to be busy.
	maxWriteOuts = 4
)

// writeOut is how far a file has come. inode.mu guards it.
type writeOut struct {
	begun uint64 // what comes before is on its way already, or was not written
	high  uint64 // where what was written ends
	going bool   // something was begun
	busy  bool
}

// wrote notes n bytes written at off, and returns what to begin with now; size is 0
// for nothing. After that no more is begun until busy is false again.
func (w *writeOut) wrote(off, n uint64) (from, size uint64) {
	if off > w.high+writeOutSlack || off+writeOutSlack < w.high {
		w.begun, w.high, w.going = off, off, false
	}
	w.high = max(w.high, off+n)
	least := uint64(writeOutFirst)
	if w.going {
		least = writeOutStep
	}
	if w.busy || w.high < w.begun+least+writeOutSlack {
		return 0, 0
	}
	from, size = w.begun, w.high-writeOutSlack-w.begun
	w.begun += size
	w.going, w.busy = true, true
	return from, size
}
