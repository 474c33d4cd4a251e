package readahead

// rules are the options that decide what is read ahead.
type rules struct {
	page uint64 // bytes
	most int    // pages
}

// run is how a file is being read.
type run struct {
	next uint64 // where the last read ended
	have uint64 // up to where the current run was read ahead
	seen uint64 // bytes of the current run
	eof  uint64 // where the file ends, as far as is known; 0: not known
}

// span is a range to read ahead.
type span struct{ off, size uint64 }

// plan takes note of a read and returns what to read ahead. again says that the
// run was broken, and what was read ahead for it is useless.
//
// The first read of a file at its beginning may be the only one. From the second
// one in order on the window grows with what has been read, to r.most pages.
func (s *run) plan(off, size uint64, r *rules) (ahead []span, again bool) {
	if off != s.next {
		*s = run{next: off + size, have: off + size, eof: s.eof}
		return nil, true
	}
	first := s.seen == 0
	s.seen += size
	s.next = off + size
	s.have = max(s.have, s.next)
	if first {
		return nil, false
	}
	window := min(max(s.seen/r.page, 1), uint64(r.most)) * r.page
	limit := s.next + window
	for s.have < limit && (s.eof == 0 || s.have < s.eof) {
		if limit-s.have < r.page && s.have >= s.next+size {
			break // enough for the next read; later, in whole pages
		}
		ahead = append(ahead, span{s.have, r.page})
		s.have += r.page
	}
	return ahead, false
}
