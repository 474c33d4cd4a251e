package mount

import (
	"fmt"
	"io"

	"github.com/wythefs/wythe/internal/graph"
)

// Requests counts the requests that are under way.
func (s *Session) Requests() int {
	n := s.cur.Load().requests()
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.old {
		n += r.requests()
	}
	return n
}

func (r *running) requests() int {
	n := int64(0)
	for i := range r.inside {
		n += r.inside[i].n.Load()
	}
	return int(n)
}

// Dump writes what a statedump says about the volume: the calls that are waited
// for, the open files, and the state of each translator of the graph that serves.
// above, if set, writes what is to stand before those.
func (s *Session) Dump(w io.Writer, above func(io.Writer)) error {
	requests := s.Requests()
	return s.Use(func(g *graph.Graph) error {
		g.DumpCalls(w, requests)
		files, dirs := 0, 0
		for _, f := range s.files.list() {
			if f.fd.Dir {
				dirs++
			} else {
				files++
			}
		}
		s.mu.Lock()
		old := len(s.old)
		s.mu.Unlock()
		fmt.Fprintf(w, "[global.session]\ngraph=%s\nopen_files=%d\nopen_directories=%d\nold_graphs=%d\n\n", g.ID(), files, dirs, old)
		if above != nil {
			above(w)
		}
		fmt.Fprintf(w, "[active graph - %d]\n\n", s.cur.Load().gen+1)
		g.Dump(w)
		return nil
	})
}
