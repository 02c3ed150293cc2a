package h2conn_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

func set(id http2.SettingID, v uint32) http2.Setting { return http2.Setting{ID: id, Val: v} }

// A violation is input after which the connection must end with code.
type violation struct {
	name  string
	code  http2.ErrCode
	write func(p *h2test.Peer)
}

// connErrors runs each violation against a server and, where both is set, a
// client.
func connErrors(t *testing.T, both bool, list []violation) {
	for _, v := range list {
		t.Run(v.name+" (server)", func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.AllowWriteErrors = true
				v.write(s.Peer)
				s.WantConnError(v.name, v.code)
			})
		})
		if !both {
			continue
		}
		t.Run(v.name+" (client)", func(t *testing.T) {
			clientTest(t, nil, func(t *testing.T, c *client) {
				st := c.open(get, false)
				c.AllowWriteErrors = true
				v.write(c.Peer)
				c.WantConnError(v.name, v.code)
				if _, _, reset := st.snapshot(); reset == nil || st.resets != 1 {
					t.Errorf("the stream was not told: %v, %d times", reset, st.resets)
				} else if ce := new(h2conn.ConnError); !errors.As(reset, &ce) || ce.Code != v.code {
					t.Errorf("stream error %v does not wrap the connection's", reset)
				}
			})
		})
	}
}

func TestPreface(t *testing.T) {
	t.Run("BP-001 HTTP/1 bytes instead of the preface are refused at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, nil)
			defer s.stop()
			s.Start()
			s.WriteBytes([]byte("GET / "))
			s.WantConnError("not HTTP/2", http2.ErrCodeProtocol)
		})
	})
	first := map[string]func(p *h2test.Peer){
		"PING":                 func(p *h2test.Peer) { p.WritePing(false, [8]byte{}) },
		"SETTINGS ACK":         func(p *h2test.Peer) { p.WriteSettingsAck() },
		"HEADERS":              func(p *h2test.Peer) { p.WriteHeaders(1, true, get...) },
		"an unknown frame":     func(p *h2test.Peer) { p.WriteRawFrame(0xf0, 0, 0, nil) },
		"an oversize SETTINGS": func(p *h2test.Peer) { p.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 16386)) },
	}
	for name, write := range first {
		t.Run("BP-001 first frame is "+name+" (server)", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, nil)
				s.AllowWriteErrors = true
				defer s.stop()
				s.Start()
				s.WriteBytes([]byte(http2.ClientPreface))
				write(s.Peer)
				s.WantConnError(name, http2.ErrCodeProtocol)
			})
		})
		t.Run("BP-001 first frame is "+name+" (client)", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, nil)
				c.AllowWriteErrors = true
				defer c.stop()
				c.Start()
				write(c.Peer)
				c.WantConnError(name, http2.ErrCodeProtocol)
			})
		})
	}
}

func TestFrameSize(t *testing.T) {
	big := make([]byte, 16385)
	t.Run("BP-002 16385 bytes of DATA reset the stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteData(1, false, string(big))
			s.WantRST("too large", 1, http2.ErrCodeFrameSize)
			s.WritePing(false, [8]byte{1})
			s.WantFrame("the connection lives", h2test.Ping{Ack: true, Data: [8]byte{1}})
			if data, _, reset := s.stream(1).snapshot(); data != "" || reset == nil {
				t.Errorf("got %d bytes, %v", len(data), reset)
			}
		})
	})
	t.Run("BP-002 16385 bytes of an unknown frame reset the stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteRawFrame(0xf0, 0, 1, big)
			s.WantRST("too large", 1, http2.ErrCodeFrameSize)
			s.WriteData(1, false, "late")
			s.WantIdle("ignored after our reset")
		})
	})
	t.Run("BP-002 16384 bytes are taken", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteData(1, true, string(big[:16384]))
			if data, ended, _ := s.stream(1).snapshot(); len(data) != 16384 || !ended {
				t.Errorf("got %d bytes, ended %v", len(data), ended)
			}
		})
	})
	raw := func(t http2.FrameType, id uint32, b []byte) func(p *h2test.Peer) {
		return func(p *h2test.Peer) { p.WriteRawFrame(t, 0, id, b) }
	}
	connErrors(t, false, []violation{
		{"BP-002 HEADERS too large", http2.ErrCodeFrameSize, raw(http2.FrameHeaders, 1, big)},
		{"BP-002 SETTINGS too large", http2.ErrCodeFrameSize, raw(http2.FrameSettings, 0, make([]byte, 16386))},
		{"BP-002 unknown frame on stream 0 too large", http2.ErrCodeFrameSize, raw(0xf0, 0, big)},
		{"BP-002 unknown frame on idle stream too large", http2.ErrCodeFrameSize, raw(0xf0, 1, big)},
		{"BP-002 BP-013 DATA on idle stream too large", http2.ErrCodeProtocol, raw(http2.FrameData, 1, big)},
		{"BP-002 BP-021 too large frame inside a header block", http2.ErrCodeProtocol, func(p *h2test.Peer) {
			p.WriteHeaders(1, false, post...)
			p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.Encode(get...)})
			p.WriteRawFrame(0xf0, 0, 1, big)
		}},
	})
}

func TestSettingsViolations(t *testing.T) {
	one := func(id http2.SettingID, v uint32) func(p *h2test.Peer) {
		return func(p *h2test.Peer) { p.WriteSettings(set(id, v)) }
	}
	raw := func(flags http2.Flags, id uint32, n int) func(p *h2test.Peer) {
		return func(p *h2test.Peer) { p.WriteRawFrame(http2.FrameSettings, flags, id, make([]byte, n)) }
	}
	connErrors(t, true, []violation{
		{"BP-003 length not a multiple of 6", http2.ErrCodeFrameSize, raw(0, 0, 7)},
		{"BP-003 ACK with payload", http2.ErrCodeFrameSize, raw(1, 0, 6)},
		{"BP-003 SETTINGS on a stream", http2.ErrCodeProtocol, raw(0, 1, 6)},
		{"BP-003 ACK without SETTINGS", http2.ErrCodeProtocol, raw(1, 0, 0)},
		{"BP-004 ENABLE_PUSH 2", http2.ErrCodeProtocol, one(http2.SettingEnablePush, 2)},
		{"BP-004 MAX_FRAME_SIZE 16383", http2.ErrCodeProtocol, one(http2.SettingMaxFrameSize, 16383)},
		{"BP-004 MAX_FRAME_SIZE 2^24", http2.ErrCodeProtocol, one(http2.SettingMaxFrameSize, 1<<24)},
		{"BP-005 INITIAL_WINDOW_SIZE 2^31", http2.ErrCodeFlowControl, one(http2.SettingInitialWindowSize, 1<<31)},
		{"BP-005 BP-008 INITIAL_WINDOW_SIZE 2^31 as second value", http2.ErrCodeFlowControl, func(p *h2test.Peer) {
			p.WriteSettings(set(http2.SettingInitialWindowSize, 1), set(http2.SettingInitialWindowSize, 1<<31))
		}},
		{"H2-008 ENABLE_CONNECT_PROTOCOL 2", http2.ErrCodeProtocol, one(0x8, 2)},
		{"H2-008 ENABLE_CONNECT_PROTOCOL 1 then 0", http2.ErrCodeProtocol, func(p *h2test.Peer) {
			p.WriteSettings(set(0x8, 1))
			p.WriteSettings(set(0x8, 0))
		}},
		{"H2-008 ENABLE_CONNECT_PROTOCOL 1 then 0 in one frame", http2.ErrCodeProtocol, func(p *h2test.Peer) {
			p.WriteSettings(set(0x8, 1), set(0x8, 0))
		}},
		{"BP-004 NO_RFC7540_PRIORITIES 2", http2.ErrCodeProtocol, one(0x9, 2)},
		{"BP-004 NO_RFC7540_PRIORITIES changed", http2.ErrCodeProtocol, one(0x9, 1)},
	})
	t.Run("BP-004 a server that sends ENABLE_PUSH 1", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.WriteSettings(set(http2.SettingEnablePush, 1))
			c.WantConnError("only clients decide", http2.ErrCodeProtocol)
		})
	})
	t.Run("BP-004 a client may enable push", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteSettings(set(http2.SettingEnablePush, 1))
			s.WantFrame("fine", h2test.Settings{Ack: true})
		})
	})
}

func TestSettings(t *testing.T) {
	t.Run("BP-007 unknown settings, frames, flags and codes are ignored", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteSettings(set(0x0a0a, 7), set(0xfafa, 0xffffffff))
			s.WantFrame("acknowledged", h2test.Settings{Ack: true})
			s.WriteRawFrame(0x0b+0x1f, 0xff, 0, []byte("grease"))
			s.WriteRawFrame(0xfe, 0xff, 77, []byte("grease on an idle stream"))
			s.WriteRawFrame(http2.FramePing, 0xfe, 0, make([]byte, 8))
			s.WantFrame("unknown flags", h2test.Ping{Ack: true})
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			s.WriteRST(1, 0xdeadbeef)
			if _, _, reset := r.snapshot(); reset == nil || reset.Code != 0xdeadbeef || !reset.Remote {
				t.Errorf("unknown code: %v", reset)
			}
			s.WantIdle("nothing to say")
		})
	})
	t.Run("BP-008 entries apply in order, each frame is acknowledged", func(t *testing.T) {
		serverTest(t, &h2conn.Config{KnownSettings: []http2.SettingID{0x2b61, 0x2b66}}, func(t *testing.T, s *server) {
			s.WriteSettings(set(0x2b61, 1), set(0x2b61, 2), set(0x2b61, 3), set(0x2b62, 9), set(0x2b66, 0),
				set(http2.SettingMaxFrameSize, 1<<20), set(http2.SettingMaxFrameSize, 1<<15))
			s.WriteSettings(set(http2.SettingMaxHeaderListSize, 5))
			s.WantFrame("first", h2test.Settings{Ack: true})
			s.WantFrame("second", h2test.Settings{Ack: true})
			p, ok := s.c.PeerSettings()
			if v, _ := p.Value(0x2b61); !ok || v != 3 || p.MaxFrameSize != 1<<15 || p.MaxHeaderListSize != 5 {
				t.Errorf("settings %+v", p)
			}
			if v, ok := p.Value(0x2b66); v != 0 || !ok {
				t.Error("a zero that was given counts as given")
			}
			if _, ok := p.Value(0x2b62); ok {
				t.Error("an unlisted setting was kept")
			}
		})
	})
	t.Run("BP-008 a hook refuses settings", func(t *testing.T) {
		cfg := &h2conn.Config{
			KnownSettings: []http2.SettingID{0x2b60},
			OnSettings: func(s h2conn.Settings) error {
				if v, _ := s.Value(0x2b60); v > 1 {
					return &h2conn.ConnError{Code: http2.ErrCodeSettingsTimeout}
				} else if v == 1 {
					return errors.New("no")
				}
				return nil
			},
		}
		for v, code := range map[uint32]http2.ErrCode{1: http2.ErrCodeProtocol, 2: http2.ErrCodeSettingsTimeout} {
			clientTest(t, cfg, func(t *testing.T, c *client) {
				c.WriteSettings(set(0x2b60, v))
				c.WantConnError("the hook's code", code)
			})
		}
	})
	t.Run("own settings and window come first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &h2conn.Config{ConnectProtocol: true, Settings: []http2.Setting{set(0x2b60, 1)}, MaxFrameSize: 1 << 16})
			s.Preface()
			s.WantFrame("all of them", h2test.Settings{Settings: []http2.Setting{
				set(http2.SettingMaxConcurrentStreams, 100),
				set(http2.SettingInitialWindowSize, 256<<10),
				set(http2.SettingMaxFrameSize, 1<<16),
				set(http2.SettingMaxHeaderListSize, 64<<10),
				set(0x8, 1), set(0x9, 1), set(0x2b60, 1),
			}})
			s.WantFrame("connection window", h2test.WindowUpdate{Increment: 1<<20 - 65535})
			s.WantFrame("their SETTINGS", h2test.Settings{Ack: true})
			s.stop()

			c := newClient(t, nil)
			c.Preface()
			c.WantFrame("all of them", h2test.Settings{Settings: []http2.Setting{
				set(http2.SettingEnablePush, 0),
				set(http2.SettingInitialWindowSize, 256<<10),
				set(http2.SettingMaxHeaderListSize, 64<<10),
				set(0x9, 1),
			}})
			c.stop()
		})
	})
	t.Run("our settings bind the peer from its acknowledgement", func(t *testing.T) {
		serverTest(t, &h2conn.Config{ConnectProtocol: true, Settings: []http2.Setting{set(0x2b61, 1)}}, func(t *testing.T, s *server) {
			seen := func(id uint32) uint32 {
				s.WriteHeaders(id, true, get...)
				v, _ := s.stream(id).request.Local.Value(0x2b61)
				return v
			}
			if err := s.c.UpdateSettings(set(0x2b61, 2)); err != nil {
				t.Fatal(err)
			}
			if err := s.c.UpdateSettings(set(0x2b61, 3)); err != nil {
				t.Fatal(err)
			}
			s.WantFrame("first update", h2test.Settings{Settings: []http2.Setting{set(0x2b61, 2)}})
			s.WantFrame("second update", h2test.Settings{Settings: []http2.Setting{set(0x2b61, 3)}})
			for i, want := range []uint32{1, 2, 3} {
				if got := seen(uint32(2*i + 1)); got != want {
					t.Errorf("after %d acknowledgements %d", i, got)
				}
				if i < 2 {
					s.WriteSettingsAck()
				}
			}
			if v, _ := s.c.AckedSettings().Value(0x2b61); v != 3 {
				t.Errorf("acknowledged %d", v)
			}
			for _, bad := range []http2.Setting{set(0x8, 0), set(http2.SettingMaxFrameSize, 1<<20), set(http2.SettingInitialWindowSize, 1<<31)} {
				if err := s.c.UpdateSettings(bad); err == nil {
					t.Errorf("update %v was accepted", bad)
				}
			}
		})
	})
	t.Run("unacknowledged updates are bounded", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			for i := range 16 {
				if err := s.c.UpdateSettings(set(0x2b61, 2)); err != nil {
					t.Fatal(i, err)
				}
			}
			if err := s.c.UpdateSettings(set(0x2b61, 2)); err == nil {
				t.Error("the 17th was accepted")
			}
		})
	})
}

func TestStreamZeroAndLengths(t *testing.T) {
	raw := func(ft http2.FrameType, flags http2.Flags, id uint32, b ...byte) func(p *h2test.Peer) {
		return func(p *h2test.Peer) { p.WriteRawFrame(ft, flags, id, b) }
	}
	connErrors(t, true, []violation{
		{"BP-020 DATA on stream 0", http2.ErrCodeProtocol, raw(http2.FrameData, 0, 0, 1)},
		{"BP-020 HEADERS on stream 0", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 4, 0, 0x82)},
		{"BP-020 DATA padding as long as the payload", http2.ErrCodeProtocol, raw(http2.FrameData, 8, 1, 4, 0, 0, 0)},
		{"BP-020 HEADERS padding as long as the payload", http2.ErrCodeProtocol, raw(http2.FrameHeaders, 8|4, 1, 4, 0, 0, 0)},
		{"BP-020 padded DATA without pad length", http2.ErrCodeFrameSize, raw(http2.FrameData, 8, 1)},
		{"BP-020 HEADERS without its priority", http2.ErrCodeFrameSize, raw(http2.FrameHeaders, 0x20|4, 1, 0, 0, 0)},
		{"BP-025 PING of 7 bytes", http2.ErrCodeFrameSize, raw(http2.FramePing, 0, 0, make([]byte, 7)...)},
		{"BP-025 PING on a stream", http2.ErrCodeProtocol, raw(http2.FramePing, 0, 1, make([]byte, 8)...)},
		{"BP-025 RST_STREAM of 3 bytes", http2.ErrCodeFrameSize, raw(http2.FrameRSTStream, 0, 1, 0, 0, 0)},
		{"BP-025 RST_STREAM on stream 0", http2.ErrCodeProtocol, raw(http2.FrameRSTStream, 0, 0, 0, 0, 0, 8)},
		{"BP-025 PRIORITY on stream 0", http2.ErrCodeProtocol, raw(http2.FramePriority, 0, 0, 0, 0, 0, 0, 0)},
		{"BP-025 PRIORITY of 4 bytes on an idle stream", http2.ErrCodeFrameSize, raw(http2.FramePriority, 0, 99, 0, 0, 0, 0)},
		{"BP-025 WINDOW_UPDATE of 3 bytes", http2.ErrCodeFrameSize, raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 1)},
		{"BP-026 GOAWAY on a stream", http2.ErrCodeProtocol, raw(http2.FrameGoAway, 0, 1, make([]byte, 8)...)},
		{"BP-025 GOAWAY of 7 bytes", http2.ErrCodeFrameSize, raw(http2.FrameGoAway, 0, 0, make([]byte, 7)...)},
		{"BP-021 stray CONTINUATION", http2.ErrCodeProtocol, raw(http2.FrameContinuation, 4, 1, 0x82)},
		{"BP-011 BP-012 PUSH_PROMISE", http2.ErrCodeProtocol, raw(http2.FramePushPromise, 4, 1, 0, 0, 0, 2, 0x82)},
		{"BP-017 WINDOW_UPDATE 0 on the connection", http2.ErrCodeProtocol, raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0)},
	})
	t.Run("BP-025 PRIORITY of 4 bytes resets the stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4))
			s.WantRST("wrong length", 1, http2.ErrCodeFrameSize)
			s.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4))
			s.WantIdle("one error per stream")
		})
	})
	t.Run("BP-025 BP-007 PRIORITY is ignored but for a stream on itself", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WritePriority(99, http2.PriorityParam{StreamDep: 7})
			s.WriteHeaders(1, false, post...)
			s.WritePriority(1, http2.PriorityParam{StreamDep: 3, Exclusive: true, Weight: 200})
			s.WantIdle("ignored")
			s.WritePriority(1, http2.PriorityParam{StreamDep: 1})
			s.WantRST("on itself", 1, http2.ErrCodeProtocol)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, BlockFragment: s.Encode(get...), EndHeaders: true,
				Priority: http2.PriorityParam{StreamDep: 3}})
			s.WantRST("HEADERS on itself", 3, http2.ErrCodeProtocol)
		})
	})
}

func TestHeaderBlockOrder(t *testing.T) {
	begun := func(p *h2test.Peer) {
		b := p.Encode(get...)
		p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:2]})
	}
	inside := map[string]func(p *h2test.Peer){
		"DATA":                     func(p *h2test.Peer) { p.WriteData(1, false, "x") },
		"PING":                     func(p *h2test.Peer) { p.WritePing(false, [8]byte{}) },
		"PRIORITY":                 func(p *h2test.Peer) { p.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
		"HEADERS":                  func(p *h2test.Peer) { p.WriteHeaders(3, true, get...) },
		"unknown":                  func(p *h2test.Peer) { p.WriteRawFrame(0xf0, 0, 1, nil) },
		"CONTINUATION for another": func(p *h2test.Peer) { p.WriteContinuation(3, true, nil) },
	}
	for name, write := range inside {
		connErrors(t, false, []violation{{"BP-021 " + name + " inside a header block", http2.ErrCodeProtocol,
			func(p *h2test.Peer) { begun(p); write(p) }}})
	}
	t.Run("BP-021 CONTINUATION frames complete a block", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			b := s.Encode(get...)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1], EndStream: true, PadLength: 9})
			for i := range b[1:9] {
				s.WriteContinuation(1, false, b[1+i:2+i])
			}
			s.WriteContinuation(1, true, b[9:])
			if r := s.stream(1).request; r.Method != "GET" || r.Authority != "a.example" || !r.EndStream {
				t.Errorf("request %+v", r)
			}
		})
	})
	connErrors(t, false, []violation{
		{"BP-022 bad index", http2.ErrCodeCompression, func(p *h2test.Peer) {
			p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0x7f}, EndHeaders: true})
		}},
		{"BP-022 table update above the limit", http2.ErrCodeCompression, func(p *h2test.Peer) {
			p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x3f, 0xe2, 0x1f}, EndHeaders: true})
		}},
		{"BP-022 truncated block", http2.ErrCodeCompression, func(p *h2test.Peer) {
			b := p.Encode(post...) // ends with an indexed :path
			b = append(b, p.Encode("x", "literal")...)
			p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:len(b)-1], EndHeaders: true})
		}},
		{"BP-022 bad block on a stream that was reset", http2.ErrCodeCompression, func(p *h2test.Peer) {
			p.WriteHeaders(1, false, post...)
			p.WriteWindowUpdate(1, 0)
			p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0x7f}, EndHeaders: true, EndStream: true})
		}},
	})
}

func TestErrorText(t *testing.T) {
	t.Run("debug data of the peer is escaped", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			c.WriteRawFrame(http2.FrameGoAway, 0, 0, append([]byte{0, 0, 0, 1, 0, 0, 0, 0xb}, "\x1b[31m\r\nred"...))
			c.Peer.Close()
			<-c.c.Done()
			err := c.c.Err()
			var ce *h2conn.ConnError
			if !errors.As(err, &ce) || !ce.Remote || ce.Code != http2.ErrCodeEnhanceYourCalm {
				t.Fatalf("got %v", err)
			}
			for _, r := range err.Error() {
				if r < ' ' {
					t.Fatalf("control character in %q", err.Error())
				}
			}
			if want := fmt.Sprintf("%q", "\x1b[31m\r\nred"); ce.Reason != want {
				t.Errorf("reason %s, want %s", ce.Reason, want)
			}
		})
	})
}
