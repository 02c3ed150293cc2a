package session

import (
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A sendState is the state of a stream's sending part: RFC 9000 section 3.1
// (https://www.rfc-editor.org/rfc/rfc9000#section-3.1) with every edge
// "acknowledged" collapsed into "sent", since the bytes below are reliable.
type sendState uint8

const (
	// sendNone is the sending part of a stream that has none: unidirectional,
	// opened by the peer.
	sendNone sendState = iota
	// sendOpen is "Ready" and "Send": the application may write.
	sendOpen
	// sendFinDue is "Send" after the application closed: FIN goes out with the
	// last byte, or alone if there is none.
	sendFinDue
	// sendResetDue is "Send" after the application or the peer gave up:
	// WT_RESET_STREAM is to go out, the unsent bytes are gone.
	sendResetDue
	// sendDataSent is "Data Sent" and "Data Recvd": FIN went out. No reset is
	// possible any more.
	sendDataSent
	// sendResetSent is "Reset Sent" and "Reset Recvd".
	sendResetSent
)

// A sendEvent is what can happen to a sending part.
type sendEvent uint8

const (
	sendEventClose         sendEvent = iota // the application closes
	sendEventCancel                         // the application cancels; bytes are unsent, or it had not closed
	sendEventStopSending                    // WT_STOP_SENDING received
	sendEventMaxStreamData                  // WT_MAX_STREAM_DATA received
	sendEventFinSent                        // FIN handed to the carrier
	sendEventResetSent                      // WT_RESET_STREAM handed to the carrier
	sendEventFinMisread                     // the peer took FIN for something else
)

// A verdict is what a state machine says of an event.
type verdict uint8

const (
	accepted   verdict = iota // the event took effect
	ignored                   // allowed here, without effect
	wrongState                // the peer's error: WT_STREAM_STATE_ERROR
	bug                       // our own error
)

// must panics on what only a mistake of this package can bring about.
func must(v verdict) {
	if v == bug {
		panic("BUG: session: event in a state that does not allow it")
	}
}

// A sendHalf is a stream's sending part. It has no lock and knows no stream.
type sendHalf struct {
	state sendState
	// stopRecvd says that WT_STOP_SENDING arrived, which may happen once, in
	// any state.
	stopRecvd bool
	// told says that the application knows how the part ended: it closed or
	// cancelled it, or a Write returned the peer's code.
	told bool

	// put says that a WT_STREAM without FIN went out before the peer's dialect
	// was known, ended that it was FIN to the peer and nothing may follow.
	put, ended bool
	limited    bool // a WT_MAX_STREAM_DATA arrived

	credit sessionstate.SendCredit
	sent   uint64 // stream data handed to the carrier; the Reliable Size of a reset
	buf    buffer // accepted by Write, not handed over
	code   uint32 // of the reset due or sent
	err    error  // what Write returns in sendResetDue and sendResetSent
}

// on applies an event.
//
//	              close     cancel      STOP_SENDING   MAX_STREAM_DATA   FIN sent   RESET sent   FIN misread
//	sendOpen      FinDue    ResetDue    ResetDue       take              bug        bug          ignore
//	sendFinDue    ignore    ResetDue    ResetDue       take              DataSent   bug          ignore
//	sendResetDue  ignore    ignore      note           ignore            bug        ResetSent    ignore
//	sendDataSent  ignore    ignore      note           ignore            bug        bug          FinDue
//	sendResetSent ignore    ignore      note           ignore            bug        bug          ignore
//	sendNone      bug       bug         wrong state    wrong state       bug        bug          ignore
//
// A second WT_STOP_SENDING, and WT_MAX_STREAM_DATA after one, are the wrong
// state everywhere.
func (h *sendHalf) on(e sendEvent) verdict {
	switch e {
	case sendEventStopSending, sendEventMaxStreamData:
		if h.state == sendNone || h.stopRecvd {
			return wrongState
		}
		if e == sendEventStopSending {
			h.stopRecvd = true
		}
	case sendEventFinMisread:
		if h.state != sendDataSent {
			return ignored
		}
		h.state = sendFinDue
		return accepted
	default:
		if h.state == sendNone {
			return bug
		}
	}
	open := h.state == sendOpen || h.state == sendFinDue
	switch e {
	case sendEventClose:
		if h.state == sendOpen {
			h.state = sendFinDue
			return accepted
		}
	case sendEventCancel, sendEventStopSending:
		if open {
			h.state = sendResetDue
			return accepted
		}
	case sendEventMaxStreamData:
		if open {
			return accepted
		}
	case sendEventFinSent:
		if h.state != sendFinDue {
			return bug
		}
		h.state = sendDataSent
		return accepted
	case sendEventResetSent:
		if h.state != sendResetDue {
			return bug
		}
		h.state = sendResetSent
		return accepted
	}
	return ignored
}

// final reports whether nothing of the part goes out any more, and the
// application knows it.
func (h *sendHalf) final() bool {
	switch h.state {
	case sendNone:
		return true
	case sendDataSent, sendResetSent:
		return h.told
	}
	return false
}

// wantsData reports whether stream data can go out as far as the stream is
// concerned.
func (h *sendHalf) wantsData() bool {
	return h.hasData() && h.credit.Available() > 0
}

// hasData reports whether stream data is waiting.
func (h *sendHalf) hasData() bool {
	return (h.state == sendOpen || h.state == sendFinDue) && h.buf.n > 0
}

// wantsFin reports whether FIN is due in a capsule of its own.
func (h *sendHalf) wantsFin() bool { return h.state == sendFinDue && h.buf.n == 0 }

// aborted records how an abort is told to the application.
func (h *sendHalf) aborted(id uint64, code uint32, remote bool) {
	h.code = code
	h.err = &transport.StreamError{
		StreamID: transport.StreamID(id),
		Code:     transport.StreamErrorCode(code),
		Remote:   remote,
	}
}
