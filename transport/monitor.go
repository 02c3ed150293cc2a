package transport

// A Side tells which end of a session or connection this is.
type Side uint8

const (
	ClientSide Side = iota // it dialed
	ServerSide             // it accepted
)

// String returns "client" or "server".
func (s Side) String() string {
	if s == ServerSide {
		return "server"
	}
	return "client"
}

// A Monitor is told what happens at servers and dialers. Package metrics has one
// that counts. Its methods are called from any goroutine, without locks held;
// they must not block nor close what they are told of.
type Monitor interface {
	// ConnectionOpened is called when a connection is ready for sessions, and
	// ConnectionEnded once for each that was: ReachedLimit tells whether err is
	// about a limit. Err is nil if nothing went wrong.
	ConnectionOpened(p Protocol, side Side)
	ConnectionEnded(p Protocol, side Side, err error)
	// ConnectionRefused is called when a server turns a connection away before
	// it is ready.
	ConnectionRefused(p Protocol, limit Limit)
	// SessionOpened is called when a session is open. Its Context tells when and
	// how it ends, its Stats go on counting until then.
	SessionOpened(s Session, side Side)
	// SessionRefused is called when a server answers a request for a session
	// with anything but a session. A client that goes before there is an answer
	// was not refused.
	SessionRefused(r Refusal)
	// Dialed is called at the end of each Dial of package negotiate.
	Dialed(d Dialed)
}

// A Refusal is a request for a session that a server did not grant.
type Refusal struct {
	Protocol Protocol
	// Status is the HTTP status of the answer, 0 if the request was reset.
	Status int
	// Limit is the limit that was reached, "" if the refusal has another reason.
	Limit Limit
}
