package session

import (
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A recvState is the state of a stream's receiving part: RFC 9000 section 3.2
// (https://www.rfc-editor.org/rfc/rfc9000#section-3.2). Bytes arrive in order,
// so that "Size Known" and "Data Recvd" are one.
type recvState uint8

const (
	// recvNone is the receiving part of a stream that has none:
	// unidirectional, opened here.
	recvNone recvState = iota
	// recvOpen is "Recv".
	recvOpen
	// recvHeld is recvDataRecvd if the peer speaks the dialect that it is
	// supposed to speak, and otherwise recvOpen. The application is not told.
	recvHeld
	// recvDataRecvd is "Size Known" and "Data Recvd": the FIN is here, and
	// with it every byte. The application has not read them all.
	recvDataRecvd
	// recvResetRecvd is "Reset Recvd": the application has not been told.
	recvResetRecvd
	// recvDataRead is "Data Read": the application read the end, or does not
	// want it.
	recvDataRead
	// recvResetRead is "Reset Read": the application was told, or had already
	// cancelled.
	recvResetRead
)

// A recvEvent is what can happen to a receiving part.
type recvEvent uint8

const (
	recvEventData        recvEvent = iota // header of a WT_STREAM capsule received
	recvEventFin                          // last byte of a FIN capsule received, or known to have been
	recvEventHold                         // last byte of what is supposed to be a FIN capsule received
	recvEventReopen                       // what was taken for FIN was none
	recvEventReset                        // WT_RESET_STREAM received
	recvEventDataBlocked                  // WT_STREAM_DATA_BLOCKED received
	recvEventRead                         // the application read the end, or was told of the reset
	recvEventCancel                       // the application cancels reading
	recvEventStopSent                     // WT_STOP_SENDING handed to the carrier
)

// A stopState says how far the application's wish to stop has come. It is
// apart from recvState because a stream may end in any way afterwards.
type stopState uint8

const (
	stopNone stopState = iota
	stopDue            // the application cancelled; WT_STOP_SENDING is to go out
	stopSent           // it went out: once per stream
	stopMoot           // the application cancelled; the stream's end makes WT_STOP_SENDING needless
)

// A recvHalf is a stream's receiving part. It has no lock and knows no stream.
type recvHalf struct {
	state recvState
	stop  stopState

	win sessionstate.ReceiveWindow
	buf buffer // received and not read
	err error  // what Read returns once the part was reset or cancelled

	code uint32 // of WT_STOP_SENDING, due or sent

	begun    bool // a WT_STREAM has come
	supposed bool // it came to recvDataRead on the prior alone
	full     bool // in recvHeld: the peer has had no credit since, and is given some
	unfunded bool // in recvHeld: the same of the session's credit
	// waived says that the peer need not answer WT_STOP_SENDING, which went
	// out: the part is over for this side, and anything may still come.
	waived bool

	// blocked is the limit of the last WT_STREAM_DATA_BLOCKED, plus one.
	blocked uint64
}

// on applies an event.
//
//	               data     FIN        hold    reopen  RESET       DATA_BLOCKED  read       cancel     STOP sent
//	recvOpen       accept   DataRecvd  Held    ignore  ResetRecvd  accept        bug        stopDue    stopSent
//	  cancelled    accept   DataRead   Held    ignore  ResetRead   accept        bug        ignore     stopSent
//	recvHeld       wrong    DataRecvd  bug     Open    wrong       wrong         bug        stopDue    bug
//	  cancelled    wrong    DataRead   bug     Open    wrong       wrong         bug        ignore     bug
//	recvDataRecvd  wrong    bug        bug     Open    wrong       wrong         DataRead   DataRead   bug
//	recvResetRecvd wrong    bug        bug     ignore  wrong       wrong         ResetRead  ResetRead  bug
//	recvDataRead   wrong    bug        bug     ignore  wrong       wrong         ignore     ignore     bug
//	  cancelled    wrong    bug        bug     Open    wrong       wrong         ignore     ignore     bug
//	recvResetRead  wrong    bug        bug     ignore  wrong       wrong         ignore     ignore     bug
//	recvNone       wrong    bug        bug     ignore  wrong       wrong         bug        bug        bug
//
// FIN and hold are bugs outside recvOpen because the capsule's header was
// accepted as data there, and nothing of the peer's can come between. Reopening
// makes a needless WT_STOP_SENDING due again. A part whose end the application
// has read is never asked to reopen: the session ends then.
func (h *recvHalf) on(e recvEvent) verdict {
	cancelled := h.stop != stopNone
	if h.state == recvOpen || h.state == recvHeld {
		switch e {
		case recvEventFin:
			h.state = recvDataRecvd
			if cancelled {
				h.state = recvDataRead
			}
			h.ended()
			return accepted
		case recvEventCancel:
			if cancelled {
				return ignored
			}
			h.stop = stopDue
			return accepted
		}
	}
	if h.state == recvOpen {
		switch e {
		case recvEventData, recvEventDataBlocked:
			return accepted
		case recvEventHold:
			h.state = recvHeld
			return accepted
		case recvEventReopen:
			return ignored
		case recvEventReset:
			h.state = recvResetRecvd
			if cancelled {
				h.state = recvResetRead
			}
			h.ended()
			return accepted
		case recvEventStopSent:
			if h.stop != stopDue {
				return bug
			}
			h.stop = stopSent
			return accepted
		}
		return bug
	}
	switch e {
	case recvEventData, recvEventReset, recvEventDataBlocked:
		return wrongState
	case recvEventReopen:
		switch h.state {
		case recvHeld, recvDataRecvd:
		case recvDataRead:
			if !cancelled {
				return ignored
			}
		default:
			return ignored
		}
		h.state = recvOpen
		if h.stop == stopMoot {
			h.stop = stopDue
		}
		return accepted
	case recvEventRead, recvEventCancel:
		switch h.state {
		case recvDataRecvd:
			h.state = recvDataRead
		case recvResetRecvd:
			h.state = recvResetRead
		case recvDataRead, recvResetRead:
			return ignored
		default:
			return bug
		}
		if e == recvEventCancel {
			h.stop = stopMoot
		}
		return accepted
	}
	return bug
}

// ended makes WT_STOP_SENDING needless: draft-ietf-webtrans-http2
// "WT_STOP_SENDING Capsule", not after the peer has ended the stream.
func (h *recvHalf) ended() {
	if h.stop == stopDue {
		h.stop = stopMoot
	}
}

// final reports whether nothing can arrive any more that matters, and the
// application knows how the part ended.
func (h *recvHalf) final() bool {
	switch h.state {
	case recvNone, recvDataRead, recvResetRead:
		return true
	case recvOpen:
		return h.waived
	}
	return false
}

// discards reports whether arriving bytes are thrown away.
func (h *recvHalf) discards() bool { return h.stop != stopNone }

// growing reports whether the peer may be given more credit: never after the
// application cancelled (H2-147), nor after the end.
func (h *recvHalf) growing() bool {
	return h.stop == stopNone && (h.state == recvOpen || h.state == recvHeld && h.full)
}

// aborted records how an abort is told to the application.
func (h *recvHalf) aborted(id uint64, code uint32, remote bool) {
	h.err = &transport.StreamError{
		StreamID: transport.StreamID(id),
		Code:     transport.StreamErrorCode(code),
		Remote:   remote,
	}
}
