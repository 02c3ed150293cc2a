package h3wt

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// Each recorded peer is played by a raw one: its settings, transport parameters
// and header fields, then everything that a session has.

// replay is a session between us and a recorded peer.
type replay struct {
	*testing.T
	peer recordedPeer
	c    *rawConn
	str  *quic.Stream // the peer's end of the CONNECT stream
	id   uint64
	s    transport.Session
	// another opens a second session and says whether it came about.
	another func() bool
}

// replayClients plays all clients against our server.
func replayClients(t *testing.T, ids, what string, test func(r *replay)) {
	for _, p := range recordedClients {
		bubble(t, ids+" "+p.name+": "+what, func(t *testing.T) {
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(p.quic(), p.settings...)
			defer c.close()
			str := c.request(connectHeaders(p.token, p.fields...))
			typ, block := c.readFrame(str)
			if typ != 1 || !bytes.HasPrefix(block, []byte("\x00\x00"+statuses[200])) {
				t.Fatalf("answered %x", block)
			}
			if got := hasField(block, draftSelected, draftSelectedValue); got != p.answered {
				t.Errorf("the answer names the draft: %v, want %v", got, p.answered)
			}
			s := <-accepted
			if got := s.(*Session).c.peerSettings().Draft(); got != p.draft {
				t.Errorf("in use: %v, want %v", got, p.draft)
			}
			test(&replay{T: t, peer: p, c: c, str: str, id: uint64(str.StreamID()), s: s, another: func() bool {
				second := c.request(connectHeaders(p.token, p.fields...))
				var one [1]byte
				_, err := second.Read(one[:])
				if e, ok := errors.AsType[*quic.StreamError](err); ok && e.ErrorCode == requestRejected {
					return false
				}
				if err != nil {
					t.Fatalf("a second session ended with %v", err)
				}
				(<-accepted).CloseWithError(0, "") // the raw peer does not answer
				return true
			}})
		})
	}
}

// replayServers plays all servers against our client.
func replayServers(t *testing.T, ids, what string, test func(r *replay)) {
	for _, p := range recordedServers {
		bubble(t, ids+" "+p.name+": "+what, func(t *testing.T) {
			srv := rawListen(t, p.quic())
			defer srv.stop()
			cc, c := srv.client(nil, p.settings...)
			defer cc.Close()
			done := dialing(cc, nil)
			str, block := c.acceptRequest()
			token := protocolLegacy
			if p.draft == Draft15 {
				token = protocolH3
			}
			if !bytes.Contains(block, huffman[token]) {
				t.Errorf("the request %x does not have the token %s", block, token)
			}
			if got := hasField(block, draftOffered, draftOfferedValue); got != p.offers {
				t.Errorf("the request names draft 02: %v, want %v", got, p.offers)
			}
			c.answer(str, append([]string{":status", "200"}, p.fields...)...)
			d := <-done
			if d.err != nil {
				t.Fatalf("Dial: %v", d.err)
			}
			if got := cc.PeerSettings().Draft(); got != p.draft {
				t.Errorf("in use: %v, want %v", got, p.draft)
			}
			test(&replay{T: t, peer: p, c: c, str: str, id: uint64(str.StreamID()), s: d.s, another: func() bool {
				if !cc.CanTakeNewSession() {
					_, err := cc.Dial(context.Background(), testURL, nil)
					if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
						t.Fatalf("a further Dial: %v", err)
					}
					return false
				}
				done := dialing(cc, nil)
				second, _ := c.acceptRequest()
				c.answer(second)
				if d := <-done; d.err != nil {
					t.Fatalf("a second Dial: %v", d.err)
				}
				return true
			}})
		})
	}
}

// hasField looks for a field in a header block as quic-go's QPACK writes one
// that is not in the static table: name and value in Huffman code.
func hasField(block []byte, name, value string) bool {
	at := bytes.Index(block, hpack.AppendHuffmanString(nil, lower(name)))
	return at >= 0 && bytes.Contains(block[at:], hpack.AppendHuffmanString(nil, value))
}

func lower(s string) string { return string(bytes.ToLower([]byte(s))) }

// header is what the streams of the session begin with.
func (r *replay) header(typ uint64) []byte { return varints(typ, r.id) }

// awaitCapsule reads the CONNECT stream until a capsule has come; others are
// skipped.
func (r *replay) awaitCapsule(want capsule.Capsule) {
	r.Helper()
	full := want.Append(nil)
	var got []byte
	for {
		typ, p := r.c.readFrame(r.str)
		if typ != 0 {
			r.Fatalf("frame of type %#x, want DATA", typ)
		}
		got = append(got, p...)
		for {
			_, n := capsule.ParseVarint(got)
			size, m := capsule.ParseVarint(got[max(n, 0):])
			end := n + m + int(size)
			if n <= 0 || m <= 0 || end > len(got) {
				break
			}
			if bytes.Equal(got[:end], full) {
				return
			}
			got = got[end:]
		}
	}
}

func TestRecordedClients(t *testing.T) {
	replayClients(t, "H3-009 H3-028 H3-030 H3-032 H3-070 a recorded client,", "streams, datagrams, codes, our close", func(r *replay) {
		r.traffic()
		r.closeOurs()
	})
	replayClients(t, "H3-042 H3-043 H3-045 H3-046 H3-048 a recorded client,", "flow control, number of sessions, their close", func(r *replay) {
		r.flow()
		r.closeTheirs()
	})
}

func TestRecordedServers(t *testing.T) {
	replayServers(t, "H3-009 H3-010 H3-028 H3-030 H3-032 a recorded server,", "streams, datagrams, codes, our close", func(r *replay) {
		r.traffic()
		r.closeOurs()
	})
	replayServers(t, "H3-042 H3-043 H3-044 H3-046 a recorded server,", "flow control, number of sessions, their close", func(r *replay) {
		r.flow()
		r.closeTheirs()
	})
}
