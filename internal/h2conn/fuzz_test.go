package h2conn_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// program turns bytes into a sequence of frames that are often legal, so that the
// fuzzer gets beyond the first check. Each step is four bytes: what, stream, an
// argument, and how many of the following bytes are payload.
func program(b []byte) []byte {
	var out, block bytes.Buffer
	fr := http2.NewFramer(&out, nil)
	fr.AllowIllegalWrites = true
	enc := hpack.NewEncoder(&block)
	encode := func(kv []string) []byte {
		block.Reset()
		for _, f := range fields(kv...) {
			enc.WriteField(f)
		}
		return block.Bytes()
	}
	for len(b) >= 4 {
		op, id, arg, n := b[0], uint32(b[1]%16), b[2], int(b[3])
		b = b[4:]
		payload := b[:min(n, len(b))]
		b = b[len(payload):]
		switch op % 16 {
		case 0, 1:
			kv := [][]string{get, post, connect, {":status", "200"}, {":status", "103"}, {"trailer", "x"}, with(get, "a", string(payload)), with(post, "content-length", "3")}[arg%8]
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: arg&0x10 != 0, EndHeaders: true, BlockFragment: encode(kv)})
		case 2:
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: arg&1 != 0, EndHeaders: arg&2 != 0, PadLength: arg & 0xf0, BlockFragment: payload})
		case 3:
			fr.WriteContinuation(id, arg&1 != 0, payload)
		case 4, 5:
			fr.WriteData(id, arg&1 != 0, payload)
		case 6:
			fr.WriteDataPadded(id, arg&1 != 0, payload, make([]byte, arg))
		case 7:
			fr.WriteData(id, arg&1 != 0, make([]byte, int(arg)*100))
		case 8:
			fr.WriteRSTStream(id, http2.ErrCode(arg))
		case 9:
			fr.WriteWindowUpdate(id, uint32(arg)<<(n%24))
		case 10:
			fr.WriteSettings(set(http2.SettingID(arg%10), uint32(n)<<(id*2)))
		case 11:
			if arg&1 != 0 {
				fr.WriteSettingsAck()
			} else {
				fr.WritePing(arg&2 != 0, [8]byte{arg})
			}
		case 12:
			fr.WriteGoAway(id, http2.ErrCode(arg), payload)
		case 13:
			fr.WritePriorityUpdate(id, string(payload))
		case 14:
			fr.WriteRawFrame(http2.FrameType(arg), http2.Flags(n), id, payload)
		case 15:
			out.Write(payload)
		}
	}
	return out.Bytes()
}

// echoServer answers every request and echoes; some it refuses, resets or holds.
func echoServer(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
	s := &stream{st: st, request: clone(h), keep: st.ID() == 5}
	switch st.ID() {
	case 3:
		return nil
	case 7:
		st.Reset(http2.ErrCodeCancel)
	case 9:
		st.HoldCredit()
	}
	if st.WriteHeaders(ok200, h.Method == "GET", nil) == nil && h.Method != "GET" {
		st.SetSource(source{s})
	}
	if st.ID() != 11 {
		st.Done()
	}
	return s
}

// FuzzFrames feeds frames to a server and to a client: neither may panic, hang,
// keep a goroutine or a stream, or tell a stream's end twice.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x01\x10\x00\x04\x01\x01\x03abc"))
	f.Add([]byte("\x00\x01\x01\x00\x04\x01\x00\x03abc\x06\x01\xff\x01x\x04\x01\x01\x00\x08\x01\x08\x00"))
	f.Add([]byte("\x00\x05\x01\x00\x07\x05\x00\x00\x09\x05\xff\x10\x0a\x00\x04\xff\x0b\x00\x01\x00"))
	f.Add([]byte("\x02\x01\x00\x02\x82\x84\x03\x01\x01\x01\x87\x0c\x00\x0b\x02hi"))
	f.Add([]byte("\x00\x01\x03\x00\x00\x01\x04\x00\x00\x01\x13\x00\x0d\x03\x00\x03u=1\x0e\x01\xf0\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		frames := program(b)
		for _, server := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				here, there := memconn.Pipe(&memconn.Options{Buffer: 1 << 20})
				cfg := &h2conn.Config{ConnectProtocol: server, MaxConcurrentStreams: 4, MaxHeaderListSize: 2000}
				var c *h2conn.Conn
				var owners []*stream
				if server {
					c = h2conn.Server(there, cfg, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
						r := echoServer(st, h)
						if s, ok := r.(*stream); ok {
							owners = append(owners, s)
						}
						return r
					}))
					h2test.RunAsync(func() (int, error) { return 0, c.Serve() })
					here.Write([]byte(http2.ClientPreface))
				} else {
					c = h2conn.Client(there, cfg)
				}
				http2.NewFramer(here, nil).WriteSettings()
				if !server {
					for range 3 {
						s := &stream{out: []byte("hello"), outEnd: true}
						owners = append(owners, s)
						if _, err := c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(post...), Receiver: s, Source: source{s}}); err != nil {
							t.Error(err)
						}
					}
				}
				h2test.RunAsync(func() (int64, error) { return io.Copy(io.Discard, here) })
				here.Write(frames)
				time.Sleep(time.Second)
				here.CloseWrite()
				<-c.Done()
				here.Close()
				if n := c.Streams(); n != 0 {
					t.Errorf("%d streams are left", n)
				}
				for _, s := range owners {
					if s.resets > 1 {
						t.Errorf("told %d times", s.resets)
					}
				}
			})
		}
	})
}
