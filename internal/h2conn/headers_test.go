package h2conn_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

// without returns kv without the field, with returns it with another value or
// with one more field at the end.
func without(kv []string, name string) []string {
	i := slices.Index(kv, name)
	return slices.Concat(kv[:i], kv[i+2:])
}

func with(kv []string, name, value string) []string {
	kv = slices.Clone(kv)
	if i := slices.Index(kv, name); i >= 0 && i%2 == 0 {
		kv[i+1] = value
		return kv
	}
	return append(kv, name, value)
}

func TestMalformedRequests(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
	}{
		{"BP-024 no :method", without(get, ":method")},
		{"BP-024 no :scheme", without(get, ":scheme")},
		{"BP-024 no :path", without(get, ":path")},
		{"BP-024 empty :path", with(get, ":path", "")},
		{"BP-024 :path without slash", with(get, ":path", "x")},
		{"BP-024 :path * without OPTIONS", with(get, ":path", "*")},
		{"BP-024 :path with space", with(get, ":path", "/a b")},
		{"BP-024 :method not a token", with(get, ":method", "G T")},
		{"BP-024 :method with a letter that lowers to ASCII", with(get, ":method", "\u212a")},
		{"BP-024 empty :authority", with(get, ":authority", "")},
		{"BP-024 :authority with user", with(get, ":authority", "u@a")},
		{"BP-024 host differs", with(get, "host", "b.example")},
		{"BP-024 two hosts", append(with(get, "host", "a.example"), "host", "a.example")},
		{"BP-024 repeated :method", slices.Concat([]string{":method", "GET"}, get)},
		{"BP-024 repeated :path", slices.Concat([]string{":path", "/"}, get)},
		{"BP-024 :status in a request", slices.Concat([]string{":status", "200"}, get)},
		{"BP-024 unknown pseudo field", slices.Concat([]string{":test", "x"}, get)},
		{"BP-024 pseudo after regular", slices.Concat([]string{"x", "y"}, get)},
		{"BP-024 upper-case name", with(get, "X-Up", "y")},
		{"BP-024 DS-09 empty name", with(get, "", "y")},
		{"BP-024 name with space", with(get, "a b", "y")},
		{"BP-024 name with colon", with(get, "a:b", "y")},
		{"BP-024 name with control", with(get, "a\x00", "y")},
		{"BP-024 value with NUL", with(get, "a", "x\x00y")},
		{"BP-024 value with CR", with(get, "a", "x\ry")},
		{"BP-024 value with LF", with(get, "a", "x\ny")},
		{"BP-024 value with DEL", with(get, "a", "x\x7fy")},
		{"BP-024 value with leading space", with(get, "a", " x")},
		{"BP-024 value with trailing tab", with(get, "a", "x\t")},
		{"BP-024 pseudo value with LF", with(get, ":path", "/\nx")},
		{"BP-024 connection", with(get, "connection", "keep-alive")},
		{"BP-024 keep-alive", with(get, "keep-alive", "x")},
		{"BP-024 proxy-connection", with(get, "proxy-connection", "x")},
		{"BP-024 transfer-encoding", with(get, "transfer-encoding", "chunked")},
		{"BP-024 upgrade", with(get, "upgrade", "x")},
		{"BP-024 te: gzip", with(get, "te", "gzip")},
		{"BP-024 te: trailers, gzip", with(get, "te", "trailers, gzip")},
		{"BP-024 content-length not a number", with(post, "content-length", "1x")},
		{"BP-024 content-length with sign", with(post, "content-length", "+1")},
		{"BP-024 empty content-length", with(post, "content-length", "")},
		{"BP-024 two lengths", append(with(post, "content-length", "1"), "content-length", "2")},
		{"BP-024 CONNECT with :path", with([]string{":method", "CONNECT", ":authority", "a"}, ":path", "/")},
		{"BP-024 CONNECT with :scheme", with([]string{":method", "CONNECT", ":authority", "a"}, ":scheme", "https")},
		{"BP-024 CONNECT without :authority", []string{":method", "CONNECT"}},
		{"H2-024 :protocol without CONNECT", slices.Concat([]string{":protocol", "webtransport"}, get)},
		{"H2-024 extended CONNECT without :scheme", without(connect, ":scheme")},
		{"H2-024 extended CONNECT with empty :scheme", with(connect, ":scheme", "")},
		{"H2-024 extended CONNECT without :path", without(connect, ":path")},
		{"H2-024 extended CONNECT with empty :path", with(connect, ":path", "")},
		{"H2-024 extended CONNECT without :authority", without(connect, ":authority")},
		{"H2-024 extended CONNECT with empty :authority", with(connect, ":authority", "")},
		{"H2-024 empty :protocol", with(connect, ":protocol", "")},
		{"H2-024 repeated :protocol", slices.Concat([]string{":protocol", "x"}, connect)},
		{"H2-024 repeated :authority", slices.Concat([]string{":authority", "a"}, connect)},
		{"H2-024 repeated :scheme", slices.Concat([]string{":scheme", "https"}, connect)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			serverTest(t, &h2conn.Config{ConnectProtocol: true}, func(t *testing.T, s *server) {
				s.WriteHeaders(1, false, tt.fields...)
				s.WantRST("malformed", 1, http2.ErrCodeProtocol)
				s.WriteHeaders(3, true, tt.fields...)
				s.WantRST("malformed with END_STREAM", 3, http2.ErrCodeProtocol)
				s.WriteHeaders(5, true, get...)
				s.stream(5)
				if len(s.streams) != 1 {
					t.Error("the handler saw a malformed request")
				}
				s.WantIdle("the connection lives")
			})
		})
	}
	t.Run("H2-024 :protocol that was not announced", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, connect...)
			s.WantRST("malformed", 1, http2.ErrCodeProtocol)
		})
	})
	good := []struct {
		name   string
		fields []string
	}{
		{"BP-024 te: trailers", with(get, "te", "trailers")},
		{"BP-024 same host", with(get, "host", "A.example")},
		{"BP-024 host alone", with(without(get, ":authority"), "host", "a")},
		{"BP-024 OPTIONS *", with(with(get, ":method", "OPTIONS"), ":path", "*")},
		{"BP-024 same length twice", append(with(post, "content-length", "0"), "content-length", "0")},
		{"BP-024 other scheme", with(with(get, ":scheme", "coap"), ":path", "x")},
		{"BP-024 plain CONNECT", []string{":method", "CONNECT", ":authority", "a:1"}},
		{"BP-024 obs-text in a value", with(get, "a", "x\xff\ty")},
		{"BP-024 empty value", with(get, "a", "")},
		{"H2-024 extended CONNECT", connect},
	}
	for _, tt := range good {
		t.Run(tt.name+" is well formed", func(t *testing.T) {
			serverTest(t, &h2conn.Config{ConnectProtocol: true}, func(t *testing.T, s *server) {
				s.WriteHeaders(1, true, tt.fields...)
				s.WantIdle("accepted")
				s.stream(1)
			})
		})
	}
}

func TestContentLength(t *testing.T) {
	t.Run("BP-024 content-length that does not match", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, with(post, "content-length", "3")...)
			s.WriteData(1, false, "abcd")
			s.WantRST("too much", 1, http2.ErrCodeProtocol)
			s.WriteHeaders(3, false, with(post, "content-length", "3")...)
			s.WriteData(3, true, "ab")
			s.WantRST("too little", 3, http2.ErrCodeProtocol)
			s.WriteHeaders(5, true, with(post, "content-length", "3")...)
			s.WantRST("none", 5, http2.ErrCodeProtocol)
			s.WriteHeaders(7, false, with(post, "content-length", "3")...)
			s.WriteDataPadded(7, false, "abc", 20)
			s.WriteHeaders(7, true, "t", "x")
			if data, ended, _ := s.stream(7).snapshot(); data != "abc" || !ended {
				t.Errorf("got %q %v", data, ended)
			}
			s.WantIdle("padding is no content")
		})
	})
	t.Run("BP-024 content-length of a response", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			c.open(with(get, ":method", "HEAD"), true)
			c.open(get, true)
			c.WriteHeaders(1, true, ":status", "200", "content-length", "5")
			c.WantRST("no content", 1, http2.ErrCodeProtocol)
			c.WriteHeaders(3, true, ":status", "200", "content-length", "5")
			c.WriteHeaders(5, true, ":status", "304", "content-length", "5")
			c.WantIdle("HEAD and 304 only tell about it")
		})
	})
}

func TestMalformedResponses(t *testing.T) {
	tests := []struct {
		name   string
		end    bool
		fields []string
	}{
		{"BP-024 no :status", true, []string{"a", "b"}},
		{"BP-024 :status not a number", true, []string{":status", "2x0"}},
		{"BP-024 :status of two digits", true, []string{":status", "20"}},
		{"BP-024 :status with sign", true, []string{":status", "+20"}},
		{"BP-024 :status 099", true, []string{":status", "099"}},
		{"BP-024 two :status", true, []string{":status", "200", ":status", "200"}},
		{"BP-024 :method in a response", true, []string{":status", "200", ":method", "GET"}},
		{"BP-024 status 101", false, []string{":status", "101"}},
		{"BP-024 interim response with END_STREAM", true, []string{":status", "100"}},
		{"BP-024 transfer-encoding", false, []string{":status", "200", "transfer-encoding", "chunked"}},
		{"BP-024 connection", false, []string{":status", "200", "connection", "x"}},
		{"BP-024 upper-case name", false, []string{":status", "200", "A", "x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clientTest(t, nil, func(t *testing.T, c *client) {
				s := c.open(get, true)
				c.WriteHeaders(1, tt.end, tt.fields...)
				c.WantRST("malformed", 1, http2.ErrCodeProtocol)
				if _, _, reset := s.snapshot(); reset == nil || reset.Remote || s.response != nil {
					t.Errorf("owner got %v, %v", s.response, reset)
				}
			})
		})
	}
	t.Run("BP-024 DATA before the response", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			c.WriteHeaders(1, false, ":status", "100")
			c.WriteData(1, false, "x")
			c.WantRST("no final response", 1, http2.ErrCodeProtocol)
		})
	})
	trailers := map[string][]string{
		"pseudo field":     {":path", "/"},
		"upper-case name":  {"X", "y"},
		"connection field": {"connection", "x"},
	}
	for name, kv := range trailers {
		t.Run("BP-024 trailers with "+name, func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.WriteHeaders(1, false, post...)
				s.WriteHeaders(1, true, kv...)
				s.WantRST("malformed", 1, http2.ErrCodeProtocol)
			})
		})
	}
	t.Run("BP-024 second header list without END_STREAM", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteHeaders(1, false, "a", "b")
			s.WantRST("malformed", 1, http2.ErrCodeProtocol)
		})
	})
}

func TestHeaderLimits(t *testing.T) {
	t.Run("BP-023 a list over the limit is answered 431", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxHeaderListSize: 1000}, func(t *testing.T, s *server) {
			size := 0
			for _, f := range fields(get...) {
				size += int(f.Size())
			}
			fit := with(get, "a", strings.Repeat("x", 1000-size-33))
			s.WriteHeaders(1, true, fit...)
			if r := s.stream(1); r.request.Size != 1000 {
				t.Errorf("size %d", r.request.Size)
			}
			s.WriteHeaders(3, true, with(get, "a", strings.Repeat("x", 1000-size-33+1))...)
			if h := s.WantHeaders("one byte over", 3); h.Value(":status") != "431" || !h.EndStream {
				t.Error(h)
			}
			s.WriteHeaders(5, false, with(post, "a", strings.Repeat("x", 1000))...)
			if h := s.WantHeaders("with a body to come", 5); h.Value(":status") != "431" {
				t.Error(h)
			}
			s.WantRST("which is not wanted", 5, http2.ErrCodeNo)
			s.WriteHeaders(7, true, with(get, "b", "still decodes")...)
			if s.stream(7).request.Value("b") != "still decodes" || len(s.streams) != 2 {
				t.Error("the connection's state is not intact")
			}
		})
	})
	t.Run("BP-023 a response over the limit resets the stream", func(t *testing.T) {
		clientTest(t, &h2conn.Config{MaxHeaderListSize: 1000}, func(t *testing.T, c *client) {
			s := c.open(get, true)
			c.WriteHeaders(1, true, ":status", "200", "a", strings.Repeat("x", 1000))
			c.WantRST("too large", 1, http2.ErrCodeEnhanceYourCalm)
			if _, _, reset := s.snapshot(); reset == nil {
				t.Error("owner was not told")
			}
		})
	})
	t.Run("DS-09 the number of fields is bounded", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			kv := slices.Clone(get)
			for i := range 508 {
				kv = append(kv, "f"+strconv.Itoa(i), "")
			}
			s.WriteHeaders(1, true, kv...)
			s.stream(1)
			s.WriteHeaders(3, true, append(kv, "one-more", "")...)
			if h := s.WantHeaders("513 fields", 3); h.Value(":status") != "431" {
				t.Error(h)
			}
		})
	})
	t.Run("DS-09 empty values count 32 bytes each", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxHeaderListSize: 1000}, func(t *testing.T, s *server) {
			kv := slices.Clone(get)
			for range 40 {
				kv = append(kv, "a", "")
			}
			s.WriteHeaders(1, true, kv...)
			if h := s.WantHeaders("over 1000", 1); h.Value(":status") != "431" {
				t.Error(h)
			}
		})
	})
	t.Run("DS-12 a small block that expands is cut off", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxHeaderListSize: 64 << 10}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, with(get, "bomb", strings.Repeat("b", 3900))...)
			s.stream(1)
			block := s.Encode(get...)
			for range 16000 {
				block = append(block, 0x80|62) // the newest entry of the table
			}
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: block})
			if h := s.WantHeaders("16 kB are 60 MB", 3); h.Value(":status") != "431" {
				t.Error(h)
			}
			s.WriteHeaders(5, true, with(get, "bomb", strings.Repeat("b", 3900))...)
			s.stream(5)
		})
	})
	t.Run("DS-12 a string over the limit of a block ends the connection", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxHeaderListSize: 1000}, func(t *testing.T, s *server) {
			s.AllowWriteErrors = true
			// 1700 bytes of Huffman code are 2700 letters, in one string.
			s.WriteHeaders(1, true, with(get, "a", strings.Repeat("e", 2700))...)
			s.WantConnError("string too long", http2.ErrCodeEnhanceYourCalm)
		})
	})
	endless := func(p *h2test.Peer, fragment func(i int) []byte, n int) {
		p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Encode(get...)})
		for i := range n {
			p.WriteContinuation(1, false, fragment(i))
		}
	}
	t.Run("DS-03 the number of CONTINUATION frames is bounded", func(t *testing.T) {
		for _, empty := range []bool{true, false} {
			serverTest(t, &h2conn.Config{MaxContinuations: 16}, func(t *testing.T, s *server) {
				s.AllowWriteErrors = true
				fragment := func(i int) []byte {
					if empty {
						return nil
					}
					return s.Encode("f"+strconv.Itoa(i), "v")
				}
				endless(s.Peer, fragment, 16)
				s.WantIdle("16 are taken")
				s.WriteContinuation(1, false, fragment(16))
				s.WantConnError("the 17th", http2.ErrCodeEnhanceYourCalm)
			})
		}
	})
	t.Run("DS-03 BP-023 the bytes of a block are bounded", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxHeaderListSize: 1000}, func(t *testing.T, s *server) {
			s.AllowWriteErrors = true
			b := s.Encode(get...)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b})
			for n := len(b); n < 2000; n += 500 {
				s.WriteContinuation(1, false, make([]byte, 0))
				lit := append([]byte{0x00, 1, 'a', 0x7f, 0xf0, 2}, make([]byte, 495)...)
				for i := range lit[6:] {
					lit[6+i] = 'v'
				}
				s.WriteContinuation(1, false, lit[:min(500, 2000-n)])
			}
			s.WantIdle("2000 bytes are decoded on")
			s.WriteContinuation(1, false, []byte("v"))
			s.WantConnError("2001", http2.ErrCodeEnhanceYourCalm)
		})
	})
	t.Run("BP-023 OpenStream respects the server's MAX_HEADER_LIST_SIZE", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			_, err := c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(with(get, "a", strings.Repeat("x", 200))...), End: true, Receiver: &stream{}})
			if err != h2conn.ErrHeaderListTooLarge {
				t.Error(err)
			}
			c.WantIdle("nothing was sent")
		}, set(http2.SettingMaxHeaderListSize, 200))
	})
}

func TestHeaderEncoding(t *testing.T) {
	t.Run("BP-024 secrets are never indexed", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			f := append(fields(":status", "200", "set-cookie", "s", "authorization", "b", "x", "y"), hpack.HeaderField{Name: "token", Value: "t", Sensitive: true})
			s.stream(1).st.WriteHeaders(f, true, nil)
			if h := s.WantHeaders("answer", 1); !slices.Equal(h.Sensitive, []string{"set-cookie", "authorization", "token"}) {
				t.Errorf("never indexed: %q", h.Sensitive)
			}
		})
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(with(with(get, "cookie", "c"), "proxy-authorization", "p")...), End: true, Receiver: &stream{}})
			if h := c.WantHeaders("request", 1); !slices.Equal(h.Sensitive, []string{"cookie", "proxy-authorization"}) {
				t.Errorf("never indexed: %q", h.Sensitive)
			}
		})
	})
	t.Run("BP-021 a large list is split at the peer's frame size", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.stream(1).st.WriteHeaders(fields(":status", "200", "x", strings.Repeat("~", 40000)), true, nil)
			if h := s.WantHeaders("answer", 1); h.Frames < 3 || len(h.Value("x")) != 40000 || !h.EndStream {
				t.Errorf("%d frames, %d bytes", h.Frames, len(h.Value("x")))
			}
		})
	})
	t.Run("BP-022 HEADER_TABLE_SIZE of the peer is kept, the smallest value signalled", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			answer := func(id uint32) int {
				s.WriteHeaders(id, true, get...)
				s.stream(id).st.WriteHeaders(fields(":status", "200", "x-long-name", "long value, to be indexed"), true, nil)
				s.WantHeaders("decodes", id)
				return 0
			}
			answer(1)
			answer(3)
			s.WriteSettings(set(http2.SettingHeaderTableSize, 0), set(http2.SettingHeaderTableSize, 4096))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			answer(5)
			s.WriteSettings(set(http2.SettingHeaderTableSize, 0))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			answer(7)
			answer(9)
		})
	})
	t.Run("DS-12 HeaderTableSize off lets the peer index nothing", func(t *testing.T) {
		serverTest(t, &h2conn.Config{HeaderTableSize: -1}, func(t *testing.T, s *server) {
			s.AllowWriteErrors = true
			s.WriteHeaders(1, true, append(get, "a-name", "b")...)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: []byte{0x80 | 62}})
			s.WantConnError("no such entry", http2.ErrCodeCompression)
		})
	})
	t.Run("BP-024 our own malformed lists are refused", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			st := s.stream(1).st
			for i, f := range [][]hpack.HeaderField{
				nil, fields("a", "b"), fields(":status", "20"), fields(":status", "200", "A", "b"),
				fields(":status", "200", "a", "b\r\nc: d"), fields(":status", "200", "connection", "close"), fields(":status", "101"),
			} {
				if err := st.WriteHeaders(f, false, nil); err == nil {
					t.Errorf("list %d was taken", i)
				}
			}
			if err := st.WriteHeaders(fields(":status", "103"), true, nil); err == nil {
				t.Error("an interim response as the end was taken")
			}
			s.WantIdle("nothing was sent")
			if err := st.WriteHeaders(ok200, false, nil); err != nil {
				t.Error(err)
			}
			s.WantHeaders("answer", 1)
			if err := st.WriteHeaders(ok200, false, nil); err == nil {
				t.Error("a second response was taken")
			}
			s.WantIdle("nothing was sent")
		})
		clientTest(t, nil, func(t *testing.T, c *client) {
			for i, f := range [][]string{{"a", "b"}, with(get, "A", "b"), with(get, "a", "\n"), append(get, ":x", "y")} {
				if _, err := c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(f...), Receiver: &stream{}}); err == nil {
					t.Errorf("list %d was taken", i)
				}
			}
			c.WantIdle("nothing was sent")
		})
	})
	t.Run("BP-024 malformed trailers of the source reset the stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.outTrailers = fields(":status", "200")
			r.respond(t)
			s.WantHeaders("answer", 1)
			r.write("x", true)
			s.WantRST("cannot be sent", 1, http2.ErrCodeInternal)
		})
	})
	t.Run("BP-007 every status is delivered", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			for i, status := range []int{200, 404, 599, 999} {
				s := c.open(get, true)
				c.WriteHeaders(uint32(2*i+1), true, ":status", fmt.Sprint(status))
				if s.snapshot(); s.response == nil || s.response.Status != status {
					t.Errorf("%d: %+v", status, s.response)
				}
			}
		})
	})
}
