package fop

// A Knower is a Handler that has the answers to some requests at hand.
type Knower interface {
	Handler
	// Known does what Do does, if that takes no brick and no waiting. Otherwise ok
	// is false, and nothing has happened.
	Known(req Request) (reply Reply, ok bool, err error)
}

// Known asks h if it is a Knower.
func Known(h Handler, req Request) (reply Reply, ok bool, err error) {
	if k, is := h.(Knower); is {
		return k.Known(req)
	}
	return nil, false, nil
}
