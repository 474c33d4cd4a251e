package xlator

import "runtime"

// MemoryFigure is one figure about the memory of this process.
type MemoryFigure struct {
	Key string
	N   uint64
}

// Mallinfo tells about the Go heap in the words of mallinfo(3), which GlusterFS
// shows.
func Mallinfo() []MemoryFigure {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return []MemoryFigure{
		{"arena", m.Sys}, {"ordblks", m.HeapObjects}, {"smblks", 0}, {"hblks", 0}, {"hblkhd", 0},
		{"usmblks", 0}, {"fsmblks", 0}, {"uordblks", m.HeapAlloc}, {"fordblks", m.HeapIdle}, {"keepcost", m.HeapIdle - m.HeapReleased},
	}
}
