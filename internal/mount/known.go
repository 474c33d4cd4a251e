package mount

import "github.com/wythefs/wythe/internal/fop"

// Known carries out a fop that takes no brick and no waiting; see [fop.Knower].
func (s *Session) Known(req fop.Request) (reply fop.Reply, ok bool, err error) {
	r, c := s.enter()
	defer r.leave(c)
	if r.gen > 0 && !s.openHere(r, req) {
		return nil, false, nil
	}
	if reply, ok, err = fop.Known(r.top, req); ok {
		s.note(r, req, reply, err)
	}
	return reply, ok, err
}
