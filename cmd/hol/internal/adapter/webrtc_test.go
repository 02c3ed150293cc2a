package adapter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/towpath-go/towpath/cmd/hol/internal/loopback"
)

// webrtcListen starts a server on the loopback interface that the test closes.
func webrtcListen(t *testing.T, a Adapter) *webrtcServer {
	t.Helper()
	before := runtime.NumGoroutine()
	certificate, err := NewCertificate(loopback.Host{}.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Listen(t.Context(), Env{Client: loopback.Host{}, Server: loopback.Host{}, Channels: 1, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		awaitGoroutines(t, before)
	})
	return s.(*webrtcServer)
}

// webrtcPair connects both ends.
func webrtcPair(t *testing.T, a Adapter) (client, server *webrtcConn) {
	t.Helper()
	p := &pair{t: t, a: a}
	p.connect(1)
	return p.client.(*webrtcConn), p.server.(*webrtcConn)
}

func TestWebRTCChannelsAreWhatTheyAreCalled(t *testing.T) {
	for _, c := range []struct {
		a       Adapter
		ordered bool
	}{{webrtcOrdered, true}, {webrtcUnordered, false}} {
		t.Run(c.a.Name, func(t *testing.T) {
			client, server := webrtcPair(t, c.a)
			for _, from := range []*webrtcConn{client, server} {
				to := client
				if from == client {
					to = server
				}
				opened, err := from.OpenChannel(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				accepted, err := to.AcceptChannel(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				bulk, err := from.OpenBulk(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, end := range []Channel{opened, accepted} {
					ch := end.(*webrtcChannel)
					retransmits := ch.data.MaxRetransmits()
					if ch.data.Ordered() != c.ordered || ch.drops == c.ordered || (retransmits == nil) != c.ordered {
						t.Errorf("a channel is ordered %v, drops %v, and is sent again %v times", ch.data.Ordered(), ch.drops, retransmits)
					}
				}
				ch := bulk.(*webrtcChannel)
				if !ch.data.Ordered() || ch.drops || ch.data.MaxRetransmits() != nil {
					t.Error("a bulk channel is not reliable")
				}
			}
		})
	}
}

// TestWebRTCDropsBeyondTheBound sends more than the peer's window holds to a
// channel from which nobody reads.
func TestWebRTCDropsBeyondTheBound(t *testing.T) {
	client, server := webrtcPair(t, webrtcUnordered)
	sender, err := server.OpenChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const messages = 5000
	for range messages {
		if err := sender.Send(make([]byte, MaxDatagram)); err != nil {
			t.Fatal(err)
		}
		if got := sender.(*webrtcChannel).data.BufferedAmount(); got > webrtcMaxOnce {
			t.Fatalf("%d bytes wait, want %d at most", got, webrtcMaxOnce)
		}
	}
	if got := server.Drops().Outgoing; got == 0 || got >= messages {
		t.Errorf("%d of %d messages were dropped", got, messages)
	}
	if got := client.Drops(); got != (Drops{}) {
		t.Errorf("the receiver dropped %+v", got)
	}
}

func TestWebRTCBoundsWaitingChannels(t *testing.T) {
	client, server := webrtcPair(t, webrtcOrdered)
	for range webrtcMaxChannels - 1 {
		server.channels <- nil
	}
	last, err := client.OpenChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for len(server.channels) < webrtcMaxChannels {
		runtime.Gosched()
	}
	beyond, err := client.OpenChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := beyond.Receive(t.Context()); err != io.EOF {
		t.Errorf("Receive from a channel beyond the bound: %v, want EOF", err)
	}
	for range webrtcMaxChannels - 1 {
		<-server.channels
	}
	accepted, err := server.AcceptChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := accepted.Send([]byte("here")); err != nil {
		t.Fatal(err)
	}
	if err := receive(t.Context(), last, []byte("here")); err != nil {
		t.Error(err)
	}
}

// TestWebRTCBoundsAnnouncements has a peer that takes no announcement but the
// first: so many wait there as it has room for, and none is dropped.
func TestWebRTCBoundsAnnouncements(t *testing.T) {
	client, server := webrtcPair(t, webrtcOrdered)
	release := make(chan struct{})
	server.peer.OnDataChannel(func(data *webrtc.DataChannel) {
		<-release
		server.announced(data)
	})
	open := func(ctx context.Context) error {
		ch, err := client.OpenChannel(ctx)
		if err == nil {
			err = ch.Send([]byte("first"))
		}
		return err
	}
	for range 1 + webrtcOpening { // the first is acknowledged before it is held up
		if err := open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// One of two ready cases may be chosen, if there is room.
	for range 10 {
		if err := open(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("OpenChannel beyond the bound: %v", err)
		}
	}
	close(release)
	if err := open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 + webrtcOpening {
		ch, err := server.AcceptChannel(t.Context())
		if err == nil {
			err = receive(t.Context(), ch, []byte("first"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWebRTCRefusesOffers(t *testing.T) {
	post := func(t *testing.T, s *webrtcServer, kind, body string) int {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.env.ClientTLS(), DisableKeepAlives: true}}
		response, err := client.Post("https://"+s.address.String()+webrtcPath, kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	t.Run("another type", func(t *testing.T) {
		if got := post(t, webrtcListen(t, webrtcOrdered), "text/plain", "v=0"); got != http.StatusUnsupportedMediaType {
			t.Errorf("status %d", got)
		}
	})
	t.Run("beyond the bound", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		if got := post(t, s, "application/sdp", strings.Repeat("a", webrtcMaxSDP+1)); got != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", got)
		}
	})
	t.Run("not an offer", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		if got := post(t, s, "application/sdp", strings.Repeat("a", webrtcMaxSDP)); got != http.StatusBadRequest {
			t.Errorf("status %d", got)
		}
		if _, err := s.Accept(t.Context()); err == nil {
			t.Error("Accept succeeded")
		}
	})
	t.Run("a second client", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		post(t, s, "application/sdp", "a")
		if _, err := s.Dial(t.Context()); !errors.Is(err, errWebRTCTaken) {
			t.Errorf("Dial: %v, want %v", err, errWebRTCTaken)
		}
	})
}

func TestWebRTCBoundsAnswers(t *testing.T) {
	certificate, err := NewCertificate(loopback.Host{}.Addr())
	if err != nil {
		t.Fatal(err)
	}
	env := Env{Client: loopback.Host{}, Certificate: certificate}
	for _, c := range []struct {
		size int
		ok   bool
	}{{webrtcMaxSDP, true}, {webrtcMaxSDP + 1, false}} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusCreated)
				w.Write(bytes.Repeat([]byte("a"), c.size))
			}))
			server.TLS = env.ServerTLS()
			server.StartTLS()
			defer server.Close()
			answer, err := postOffer(t.Context(), env, netip.MustParseAddrPort(server.Listener.Addr().String()), "offer")
			if (err == nil) != c.ok || c.ok && len(answer) != c.size {
				t.Errorf("%d bytes, %v", len(answer), err)
			}
		})
	}
}

// TestWebRTCContextEndsDial shows that a context ends a Dial whose connectivity
// checks are not answered, and one whose signalling is not.
func TestWebRTCContextEndsDial(t *testing.T) {
	t.Run("checks", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		// A server that has no socket has no candidates either.
		if err := s.endpoint.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // ends with the answer
			<-s.answered
			cancel()
		}()
		if _, err := s.Dial(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: %v", err)
		}
		if _, err := s.Accept(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Accept: %v", err)
		}
	})
	t.Run("signalling", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		silent, err := loopback.Host{}.ListenTCP(0)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		s.address = netip.MustParseAddrPort(silent.Addr().String())
		ctx, cancel := context.WithCancel(t.Context())
		accepted := make(chan struct{})
		go func() { // ends with the client's connection
			defer close(accepted)
			c, err := silent.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			cancel()
			io.Copy(io.Discard, c)
		}()
		if _, err := s.Dial(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: %v", err)
		}
		<-accepted
	})
	t.Run("an untrusted server", func(t *testing.T) {
		s := webrtcListen(t, webrtcOrdered)
		other, err := NewCertificate(loopback.Host{}.Addr())
		if err != nil {
			t.Fatal(err)
		}
		s.env.Pool = other.Pool
		var unknown *tls.CertificateVerificationError
		if _, err := s.Dial(t.Context()); !errors.As(err, &unknown) {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestWebRTCCloseEndsAccept(t *testing.T) {
	s := webrtcListen(t, webrtcOrdered)
	failed := make(chan error, 1)
	go func() { // ends with Close
		_, err := s.Accept(t.Context())
		failed <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want %v", err, net.ErrClosed)
	}
}

type unformatted struct{ t *testing.T }

func (u unformatted) String() string {
	u.t.Error("what is not logged was formatted")
	return ""
}

func TestWebRTCLog(t *testing.T) {
	t.Run("levels", func(t *testing.T) {
		var out strings.Builder
		handler := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		l := pionLog{slog.New(handler)}.NewLogger("sctp")
		l.Tracef("%v", unformatted{t})
		l.Debugf("%v", unformatted{t})
		l.Infof("%v", unformatted{t})
		l.Trace("no")
		l.Debug("no")
		l.Info("no")
		l.Warnf("a %d", 1)
		l.Warn("b")
		l.Errorf("c %d", 2)
		l.Error("d")
		want := `level=INFO msg="a 1" pion=sctp
level=INFO msg=b pion=sctp
level=WARN msg="c 2" pion=sctp
level=WARN msg=d pion=sctp
`
		if out.String() != want {
			t.Errorf("logged\n%swant\n%s", out.String(), want)
		}
	})
	t.Run("silence", func(t *testing.T) {
		pionLog{logTo(nil)}.NewLogger("sctp").Errorf("%v", unformatted{t})
	})
}
