package h2wt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// errMalformed ends a stream with PROTOCOL_ERROR: RFC 9113 section 8.1.1.
type errMalformed string

func (e errMalformed) Error() string { return "h2wt: malformed request: " + string(e) }

// A badRequest is answered 400.
type badRequest string

func (e badRequest) Error() string { return "h2wt: bad request: " + string(e) }

// newRequest makes the http.Request that a handler gets. The body is the
// caller's business.
func newRequest(ctx context.Context, h *h2conn.Header) (*http.Request, error) {
	header := make(http.Header, len(h.Fields))
	var cookies []string
	for _, f := range h.Fields {
		if f.Name == "cookie" {
			cookies = append(cookies, f.Value)
			continue
		}
		key := http.CanonicalHeaderKey(f.Name)
		header[key] = append(header[key], f.Value)
	}
	if cookies != nil {
		// "MUST be concatenated": RFC 9113 section 8.2.3.
		header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	r := &http.Request{
		Method:     h.Method,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     header,
		Host:       h.Authority,
		Body:       http.NoBody,
	}
	if r.Host == "" {
		r.Host = header.Get("Host")
	}
	header.Del("Host")
	if !httpguts.ValidHostHeader(r.Host) {
		return nil, badRequest("authority")
	}
	if h.Method == http.MethodConnect && h.Protocol == "" {
		r.URL = &url.URL{Host: h.Authority}
		r.RequestURI = h.Authority
	} else {
		u, err := url.ParseRequestURI(h.Path)
		if err != nil {
			return nil, badRequest("path")
		}
		r.URL, r.RequestURI = u, h.Path
	}
	if h.Protocol != "" {
		header[":protocol"] = []string{h.Protocol}
	}
	for _, v := range header["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			if !httpguts.ValidTrailerHeader(name) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[name] = nil
		}
	}
	header.Del("Trailer")
	r.ContentLength = -1
	if h.EndStream {
		r.ContentLength = 0
	} else if v := h.Value("content-length"); v != "" {
		// The connection checks it, against the content too.
		r.ContentLength, _ = strconv.ParseInt(v, 10, 64)
	}
	return r.WithContext(ctx), nil
}

// requestBody is the body of an ordinary request: what the handler reads, and
// the stream's Receiver.
type requestBody struct {
	x    *exchange
	recv *recvBuffer

	// trailer is written on the read goroutine before recv.end(io.EOF), and
	// moved to the request by the goroutine that reads the body once it has
	// read that.
	trailer http.Header
}

// Headers implements h2conn.Receiver; never called on a server.
func (b *requestBody) Headers(*h2conn.Header) {}

// Data implements h2conn.Receiver.
func (b *requestBody) Data(p []byte) int { return b.recv.put(p) }

// Trailers implements h2conn.Receiver.
func (b *requestBody) Trailers(h *h2conn.Header) {
	t := make(http.Header)
	for _, f := range h.Fields {
		key := http.CanonicalHeaderKey(f.Name)
		if httpguts.ValidTrailerHeader(key) {
			t[key] = append(t[key], f.Value)
		}
	}
	b.trailer = t
	b.End()
}

// End implements h2conn.Receiver.
func (b *requestBody) End() { b.recv.end(io.EOF) }

// Reset implements h2conn.Receiver.
func (b *requestBody) Reset(_ http2.ErrCode, _ bool, err error) { b.x.ended(err) }

// PriorityUpdate implements h2conn.PriorityReceiver.
func (b *requestBody) PriorityUpdate(value string) { setPriority(b.x.st, []string{value}) }

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.x.w.sendContinue()
	n, err := b.recv.Read(p)
	if err == io.EOF && b.trailer != nil {
		if b.x.req.Trailer == nil {
			b.x.req.Trailer = make(http.Header, len(b.trailer))
		}
		for key, values := range b.trailer {
			b.x.req.Trailer[key] = values
		}
		b.trailer = nil
	}
	return n, err
}

// Close implements io.Closer. What was not read is dropped.
func (b *requestBody) Close() error {
	b.recv.abandon(http.ErrBodyReadAfterClose)
	return nil
}

// discard is the Receiver of a stream that was answered already.
type discard struct{}

func (discard) Headers(*h2conn.Header)           {}
func (discard) Data(p []byte) int                { return len(p) }
func (discard) Trailers(*h2conn.Header)          {}
func (discard) End()                             {}
func (discard) Reset(http2.ErrCode, bool, error) {}

// answer ends a request without a handler: a final response without content.
func answer(st *h2conn.Stream, code int) h2conn.Receiver {
	_ = st.WriteHeaders(statusFields(code), true, nil) // an error means that the stream has ended
	st.Done()
	return discard{}
}

// refusalStatus is what a request that newRequest found at fault is answered, 0 if
// it is reset.
func refusalStatus(err error) int {
	var bad badRequest
	if errors.As(err, &bad) {
		return http.StatusBadRequest
	}
	return 0
}

// refuse ends a request that newRequest found at fault.
func refuse(st *h2conn.Stream, err error) h2conn.Receiver {
	if code := refusalStatus(err); code != 0 {
		return answer(st, code)
	}
	st.Fault(http2.ErrCodeProtocol)
	st.Done()
	return discard{}
}
