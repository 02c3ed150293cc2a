package qlog

import (
	"strings"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// Namespace is what the names of all events begin with, before a colon.
const Namespace = "webtransport"

// Names of the events; docs/watching.md lists their data.
const (
	SessionStarted  = "session_started"
	CapsuleSent     = "capsule_sent"
	CapsuleReceived = "capsule_received"
	StreamOpened    = "stream_opened"
	StreamAborted   = "stream_aborted"
	DatagramDropped = "datagram_dropped"
	Blocked         = "blocked"
	Throttled       = "throttled"
	Draining        = "draining"
	DialectLearned  = "dialect_learned"
	SessionEnded    = "session_ended"
	EventsLost      = "events_lost"
	Truncated       = "truncated"
)

func (w *Writer) started() {
	data := object{}.
		text("transport", w.info.Protocol.String()).
		number("session_id", w.info.ID)
	if w.info.ApplicationProtocol != "" {
		data = data.text("application_protocol", w.info.ApplicationProtocol)
	}
	if a := w.info.LocalAddr; a != nil {
		data = data.text("local", a.String())
	}
	if a := w.info.RemoteAddr; a != nil {
		data = data.text("remote", a.String())
	}
	w.event(SessionStarted, data, false)
}

// Sent records a capsule that was given to the transport, and Received one that
// came: all but those that carry stream data or datagrams.
func (w *Writer) Sent(c capsule.Capsule) { w.capsule(CapsuleSent, c) }

// Received records a capsule that came.
func (w *Writer) Received(c capsule.Capsule) { w.capsule(CapsuleReceived, c) }

func (w *Writer) capsule(name string, c capsule.Capsule) {
	if w == nil {
		return
	}
	// Without the kind of stream that two types have behind their names.
	word, _, _ := strings.Cut(c.Type().String(), "(")
	data := object{}.text("capsule", word)
	switch c := c.(type) {
	case capsule.ResetStream:
		data = data.number("stream_id", c.StreamID).number("error_code", c.ErrorCode)
		if !c.SizeAbsent {
			data = data.number("reliable_size", c.ReliableSize)
		}
	case capsule.StopSending:
		data = data.number("stream_id", c.StreamID).number("error_code", c.ErrorCode)
	case capsule.MaxData:
		data = data.number("maximum", c.MaximumData)
	case capsule.MaxStreamData:
		data = data.number("stream_id", c.StreamID).number("maximum", c.MaximumStreamData)
	case capsule.MaxStreams:
		data = data.text("stream_type", streamType(c.Uni)).number("maximum", c.MaximumStreams)
	case capsule.DataBlocked:
		data = data.number("maximum", c.MaximumData)
	case capsule.StreamDataBlocked:
		data = data.number("stream_id", c.StreamID).number("maximum", c.MaximumStreamData)
	case capsule.StreamsBlocked:
		data = data.text("stream_type", streamType(c.Uni)).number("maximum", c.MaximumStreams)
	case capsule.CloseSession:
		data = data.number("error_code", uint64(c.ErrorCode)).text("reason", c.Message)
	case capsule.Padding:
		data = data.number("length", c.Length)
	}
	w.event(name, data, false)
}

// StreamOpened records a stream, opened here or by the peer.
func (w *Writer) StreamOpened(id transport.StreamID, local bool) {
	if w == nil {
		return
	}
	w.event(StreamOpened, object{}.number("stream_id", uint64(id)).text("stream_type", streamType(id.Uni())).
		text("initiator", localOrRemote(local)), false)
}

// Parts of a stream, as this side sees it.
const (
	Sending   = "sending"
	Receiving = "receiving"
)

// StreamAborted records that one part of a stream was aborted.
func (w *Writer) StreamAborted(id transport.StreamID, part string, local bool, code transport.StreamErrorCode) {
	if w == nil {
		return
	}
	w.event(StreamAborted, object{}.number("stream_id", uint64(id)).text("part", part).
		text("initiator", localOrRemote(local)).number("error_code", uint64(code)), false)
}

// DatagramDropped records a datagram dropped here: why is "queue full", "too old",
// "too large", or "rate".
func (w *Writer) DatagramDropped(outgoing bool, size int, age time.Duration, why string) {
	if w == nil {
		return
	}
	direction := "received"
	if outgoing {
		direction = "sent"
	}
	w.event(DatagramDropped, object{}.text("direction", direction).text("why", why).
		number("length", uint64(size)).millis("age", age), false)
}

// Blocked records that sending stopped for want of credit: what is "session",
// "stream", or "streams".
func (w *Writer) Blocked(what string, limit uint64) {
	if w == nil {
		return
	}
	w.event(Blocked, object{}.text("what", what).number("limit", limit), false)
}

// Throttled records that credit is withheld for so long, for Config.IncomingByteRate.
func (w *Writer) Throttled(d time.Duration) {
	if w == nil {
		return
	}
	w.event(Throttled, object{}.millis("for", d), false)
}

// Draining records that the peer asked to wind down.
func (w *Writer) Draining() {
	if w == nil {
		return
	}
	w.event(Draining, object{}, false)
}

// DialectLearned records what was learned of the peer's dialect.
func (w *Writer) DialectLearned(d transport.Dialect, evidence string) {
	if w == nil {
		return
	}
	w.event(DialectLearned, object{}.text("dialect", d.String()).text("evidence", evidence), false)
}

// Ended records the end of the session for the application. Capsules may be sent
// behind it.
func (w *Writer) Ended(cause *transport.SessionError, s transport.Stats) {
	if w == nil {
		return
	}
	data := object{}.text("initiator", localOrRemote(!cause.Remote)).
		number("error_code", uint64(cause.Code)).text("reason", cause.Reason)
	if cause.Err != nil {
		data = data.text("error", cause.Err.Error())
	}
	if limit, ok := transport.ReachedLimit(cause); ok {
		data = data.text("limit", string(limit))
	}
	data = data.number("streams_opened", s.StreamsOpened).number("streams_accepted", s.StreamsAccepted).
		number("bytes_sent", s.BytesSent).number("bytes_received", s.BytesReceived).
		number("datagrams_sent", s.DatagramsSent).number("datagrams_received", s.DatagramsReceived)
	if s.RTT > 0 {
		data = data.millis("rtt", s.RTT)
	}
	w.event(SessionEnded, data, true)
}

// AppendTruncated appends the record that says that a file is full: nothing that
// comes later is in it. Began is about when the session did.
func AppendTruncated(b []byte, began time.Time) []byte {
	return appendEvent(b, time.Since(began), Truncated, object{})
}

func streamType(uni bool) string {
	if uni {
		return "unidirectional"
	}
	return "bidirectional"
}

func localOrRemote(local bool) string {
	if local {
		return "local"
	}
	return "remote"
}

// Known reports whether name, with its namespace, is that of an event.
func Known(name string) bool {
	name, ok := strings.CutPrefix(name, Namespace+":")
	if !ok {
		return false
	}
	switch name {
	case SessionStarted, CapsuleSent, CapsuleReceived, StreamOpened, StreamAborted, DatagramDropped, Blocked, Throttled,
		Draining, DialectLearned, SessionEnded, EventsLost, Truncated:
		return true
	}
	return false
}
