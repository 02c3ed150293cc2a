package h3wt

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// This file knows what differs between the releases of quic-go's http3, and
// what is not in its documentation. v0.64.1 and v0.65.0 are served alike.

// streamTakers are the two forms in which an http3 ResponseWriter gives its
// stream away: up to v0.64.1, and from v0.65.0 on. The former sends the header,
// with status 200 if none was written; the latter sends nothing by itself.
type (
	streamTaker interface {
		HTTPStream() *http3.Stream
	}
	checkedStreamTaker interface {
		HTTPStream() (*http3.Stream, error)
	}
)

// takeStream sends the header with the given status and takes the stream over.
func takeStream(w http.ResponseWriter, status int) (*http3.Stream, error) {
	w.WriteHeader(status)
	if f, ok := w.(interface{ FlushError() error }); ok {
		if err := f.FlushError(); err != nil {
			return nil, err
		}
	}
	switch t := w.(type) {
	case streamTaker:
		return t.HTTPStream(), nil
	case checkedStreamTaker:
		return t.HTTPStream()
	}
	return nil, errors.New("h3wt: http3's ResponseWriter has no HTTPStream")
}

// requestID returns the ID of a request's stream, which http3 tells by the body.
func requestID(r *http.Request) (quic.StreamID, bool) {
	b, ok := r.Body.(interface{ StreamID() quic.StreamID })
	if !ok {
		return 0, false
	}
	return b.StreamID(), true
}

// setConnectUrgency sets the urgency of a CONNECT stream, which http3 offers on a
// server only and outside its documentation. A client's stays at the default.
func setConnectUrgency(str connectStream, urgency int8) {
	if p, ok := str.(interface{ SetPriority(int8, bool) }); ok {
		p.SetPriority(urgency, true)
	}
}

// canceled has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// goingAway reports whether the server has sent GOAWAY, of which http3 has no
// event. A request stream asked for with an ended context is never opened: the
// error is the context's, unless GOAWAY has come.
func goingAway(cc *http3.RawClientConn) bool {
	_, err := cc.OpenRequestStream(canceled)
	return err != nil && !errors.Is(err, context.Canceled) && cc.Context().Err() == nil
}

// maxInterim bounds the 1xx responses before the final one.
const maxInterim = 5

// readResponse reads responses until the final one. ReadResponse is documented
// for one call, but reads one response per call, as http3's own client does.
func readResponse(str *http3.RequestStream) (*http.Response, error) {
	for range maxInterim + 1 {
		rsp, err := str.ReadResponse()
		if err != nil {
			return nil, err
		}
		if rsp.StatusCode >= 200 || rsp.StatusCode == http.StatusSwitchingProtocols {
			return rsp, nil
		}
	}
	return nil, errors.New("h3wt: too many interim responses")
}

// pollGoAway is how often a client with sessions looks for GOAWAY.
const pollGoAway = time.Second
