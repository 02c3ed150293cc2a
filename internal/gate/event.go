package gate

// An Event happens once. Its channel is made for the first who asks for it, so that
// one that nobody waits for costs nothing. The zero Event has not happened. It has
// no lock: the owner's guards it.
type Event struct {
	done     chan struct{}
	happened bool
}

// Done returns a channel that is closed once the Event has happened.
func (e *Event) Done() <-chan struct{} {
	if e.done == nil {
		e.done = make(chan struct{})
		if e.happened {
			close(e.done)
		}
	}
	return e.done
}

// Happen wakes all who wait for the Event. A second call does nothing.
func (e *Event) Happen() {
	if e.happened {
		return
	}
	e.happened = true
	if e.done != nil {
		close(e.done)
	}
}

// Happened tells whether Happen was called.
func (e *Event) Happened() bool { return e.happened }
