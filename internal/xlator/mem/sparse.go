package mem

import "slices"

const pageSize = 4096

// maxSize is the largest size of a file.
const maxSize = 1<<63 - 1

var zeroes [pageSize]byte

// sparse is the contents of a file. A page that is not in the map is a hole.
type sparse struct {
	size  uint64
	pages map[uint64]*[pageSize]byte
}

// readAt fills b from off and returns how many bytes there were.
func (s *sparse) readAt(b []byte, off uint64) int {
	if off >= s.size {
		return 0
	}
	if rest := s.size - off; uint64(len(b)) > rest {
		b = b[:rest]
	}
	for done := 0; done < len(b); {
		at := off + uint64(done)
		from := zeroes[at%pageSize:]
		if p := s.pages[at/pageSize]; p != nil {
			from = p[at%pageSize:]
		}
		done += copy(b[done:], from)
	}
	return len(b)
}

// writeAt stores b at off. The caller has checked that it fits.
func (s *sparse) writeAt(b []byte, off uint64) {
	s.size = max(s.size, off+uint64(len(b)))
	for len(b) > 0 {
		if s.pages == nil {
			s.pages = map[uint64]*[pageSize]byte{}
		}
		p := s.pages[off/pageSize]
		if p == nil {
			p = new([pageSize]byte)
			s.pages[off/pageSize] = p
		}
		n := copy(p[off%pageSize:], b)
		b, off = b[n:], off+uint64(n)
	}
}

// truncate sets the size.
func (s *sparse) truncate(size uint64) {
	if size < s.size {
		s.punch(size, s.size-size)
		for i := range s.pages { // the part page of an odd end stays
			if i > size/pageSize || i == size/pageSize && size%pageSize == 0 {
				delete(s.pages, i)
			}
		}
	}
	s.size = size
}

// punch zeroes a range within the size; whole pages become holes.
func (s *sparse) punch(off, n uint64) {
	if off >= s.size {
		return
	}
	end := off + n
	if end > s.size || end < off {
		end = s.size
	}
	for i, p := range s.pages {
		lo, hi := max(off, i*pageSize), min(end, (i+1)*pageSize)
		switch {
		case lo >= hi:
		case hi-lo == pageSize:
			delete(s.pages, i)
		default:
			clear(p[lo-i*pageSize : hi-i*pageSize])
		}
	}
}

// next finds the first data (or hole) at or after off, and false if there is
// none. The end of the file is a hole.
func (s *sparse) next(off uint64, data bool) (uint64, bool) {
	if off >= s.size {
		return 0, false
	}
	if !data {
		for s.pages[off/pageSize] != nil {
			off = (off/pageSize + 1) * pageSize
		}
		return min(off, s.size), true
	}
	if s.pages[off/pageSize] != nil {
		return off, true
	}
	var later []uint64
	for i := range s.pages {
		if i > off/pageSize {
			later = append(later, i)
		}
	}
	if len(later) == 0 {
		return 0, false
	}
	return slices.Min(later) * pageSize, true
}
