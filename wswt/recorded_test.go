package wswt

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/transport"
)

var writeRecording = flag.Bool("record", false, "write the server's lines of web/suite/recorded/session.txt")

// recordingFile is played by the tests of web too, as the server.
const recordingFile = "../web/suite/recorded/session.txt"

// TestRecorded plays a recorded session, as its client, and compares what the
// server sends. Where messages begin and end is not compared: it means nothing.
func TestRecorded(t *testing.T) {
	text, err := os.ReadFile(recordingFile)
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Split(strings.TrimSpace(string(text)), "\n")
	var came []string
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, false, nil, nil)
		defer p.nc.Close()
		go p.recordedServer() // ends with the session
		for _, line := range recorded {
			if strings.HasPrefix(line, "S ") {
				continue // compared at the end
			}
			came = append(came, line)
			if !strings.HasPrefix(line, "C ") {
				continue
			}
			b, err := expand(line[2:])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			p.binary(b)
			sent, closed := p.sentMeanwhile()
			if closed != strings.HasPrefix(line, "C 6843") {
				t.Fatalf("a Close frame came, %v, after %.200s", closed, line)
			}
			if len(sent) > 0 {
				came = append(came, "S "+contract(sent))
			}
		}
		p.close(1000, "")
		if se := p.wantSession(); se.Code != 7 || se.Reason != "żegnaj" {
			t.Errorf("the session ended with %+v", se)
		}
		p.wantEnd()
		p.wantGone()
	})
	if *writeRecording {
		if err := os.WriteFile(recordingFile, []byte(strings.Join(came, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !slices.Equal(came, recorded) {
		for i, line := range came {
			if i >= len(recorded) || line != recorded[i] {
				t.Fatalf("line %d is %.200q now", i+1, line)
			}
		}
		t.Fatalf("%d lines are %d now", len(recorded), len(came))
	}
}

// sentMeanwhile returns what the server has sent once nothing goes on any more:
// the payload of its messages, and whether a Close frame with 1000 was the last.
func (p *rawPeer) sentMeanwhile() (all []byte, closed bool) {
	p.t.Helper()
	for {
		_ = p.nc.SetReadDeadline(time.Now().Add(100 * turn))
		f, err := p.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = p.nc.SetReadDeadline(time.Time{})
			return all, false
		}
		if err == nil && f.OpCode == ws.OpClose && string(f.payload) == "\x03\xe8" {
			return all, true
		}
		if err != nil || f.OpCode != ws.OpBinary {
			p.t.Fatalf("frame %+v, %v", f.Header, err)
		}
		all = append(all, f.payload...)
	}
}

// recordedServer does what the recording's server does: it answers streams once
// they have ended, with what came if that is short, and does what datagrams say.
func (p *rawPeer) recordedServer() {
	s := p.s
	say := func(w transport.SendStream, b []byte) {
		p.together(func() {
			_, _ = w.Write(b)
			_ = w.Close()
		})
	}
	answer := func(r transport.ReceiveStream, w transport.SendStream) {
		b, err := readInTurn(r)
		if se, ok := errors.AsType[*transport.StreamError](err); ok {
			w.CancelWrite(se.Code)
		} else if len(b) > 1000 {
			say(w, fmt.Appendf(nil, "%d bytes", len(b)))
		} else {
			say(w, b)
		}
	}
	go func() { // ends with the session
		for {
			st, err := s.AcceptStream(s.Context())
			if err != nil {
				return
			}
			go answer(st, st) // ends with the stream
		}
	}()
	go func() { // ends with the session
		for {
			st, err := s.AcceptUniStream(s.Context())
			if err != nil {
				return
			}
			b, ended, err := readOnce(st)
			if err != nil || string(b) == "stop" {
				time.Sleep(turn) // the credit goes out before
				st.CancelRead(66)
				continue
			}
			if !ended {
				rest, _ := readInTurn(st)
				b = append(b, rest...)
			}
			if w, err := s.OpenUniStream(s.Context()); err == nil {
				say(w, b)
			}
		}
	}()
	for {
		b, err := s.ReceiveDatagram(s.Context())
		if err != nil {
			return
		}
		switch string(b) {
		case "bidi":
			if st, err := s.OpenStream(s.Context()); err == nil {
				say(st, []byte("from the server"))
			}
		case "uni":
			if st, err := s.OpenUniStream(s.Context()); err == nil {
				say(st, []byte("from the server"))
			}
		case "drain":
			_ = s.Drain()
		default:
			_ = s.SendDatagram(b)
		}
	}
}

// turn is the time, of the bubble, in which all that can go on has gone on. What
// credit the server gives depends on what was read by then.
const turn = 100 * time.Microsecond

// readOnce waits and then reads what there is, by a single Read.
func readOnce(r io.Reader) (b []byte, ended bool, err error) {
	time.Sleep(turn)
	b = make([]byte, 1<<20)
	n, err := r.Read(b)
	if err == io.EOF {
		return b[:n], true, nil
	}
	return b[:n], false, err
}

// readInTurn does so until the end.
func readInTurn(r io.Reader) (all []byte, err error) {
	for {
		b, ended, err := readOnce(r)
		all = append(all, b...)
		if ended || err != nil {
			return all, err
		}
	}
}

// expand returns the bytes of a line: hexadecimal, where XX*N is N times XX.
func expand(line string) (b []byte, err error) {
	for token := range strings.FieldsSeq(line) {
		digits, times, repeated := strings.Cut(token, "*")
		n := 1
		if repeated {
			if n, err = strconv.Atoi(times); err != nil || n < 0 || n > 1<<20 {
				return nil, fmt.Errorf("%q is no number of bytes", times)
			}
		}
		piece, err := hex.DecodeString(digits)
		if err != nil {
			return nil, err
		}
		for range n {
			b = append(b, piece...)
		}
	}
	return b, nil
}

// contract is the opposite: 16 and more of the same byte are counted.
func contract(b []byte) string {
	var tokens []string
	plain := ""
	for len(b) > 0 {
		n := 1
		for n < len(b) && b[n] == b[0] {
			n++
		}
		if n < 16 {
			plain += hex.EncodeToString(b[:n])
		} else {
			if plain != "" {
				tokens = append(tokens, plain)
			}
			plain = ""
			tokens = append(tokens, fmt.Sprintf("%02x*%d", b[0], n))
		}
		b = b[n:]
	}
	if plain != "" {
		tokens = append(tokens, plain)
	}
	return strings.Join(tokens, " ")
}
