package wswt

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// idleBytes bounds what an idle session holds without TLS, its ends in memconn
// included; the package's comment says 13 KiB.
const idleBytes = 20 << 10

// sides runs a test against both sides.
func sides(t *testing.T, name string, f func(t *testing.T, client bool, side string)) {
	t.Helper()
	for _, client := range []bool{false, true} {
		side := "to a server"
		if client {
			side = "to a client"
		}
		t.Run(name+" "+side, func(t *testing.T) { f(t, client, side) })
	}
}

// TestHostileNeverRead has a peer give all credit there is, and take next to
// nothing of what is then written.
func TestHostileNeverRead(t *testing.T) {
	const streams = 100
	for _, tt := range []struct {
		name string
		read int // bytes a second
	}{
		{"credit for 100 streams, and nothing is read", 0},
		{"credit for 100 streams, and one byte a second is read", 1},
	} {
		sides(t, "DS-04 DS-10 DS-14 "+tt.name, func(t *testing.T, client bool, side string) {
			var m *hostile.Meter
			var cause error
			synctest.Test(t, func(*testing.T) {
				p := connect(t, client, nil, attackWire)
				defer p.nc.Close()
				synctest.Wait()
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name + " " + side, Victim: "ws", Limit: transport.LimitWriteTime,
					Reaction: "the session ends after Config.WriteTimeout",
					// Config.StreamSendBuffer for each stream, and the streams.
					Bytes: frameBytes + sessionBytes + streams*(transport.DefaultStreamSendBuffer+4<<10),
				})
				var credit []byte
				credit = capsule.MaxData{MaximumData: 1 << 40}.Append(credit)
				for i := range uint64(streams) {
					credit = capsule.MaxStreamData{StreamID: p.peerStream() ^ 1 + 4*i, MaximumStreamData: 1 << 40}.Append(credit)
				}
				data := make([]byte, 1<<20)
				for i := range streams {
					x, err := p.s.OpenStream(ended())
					if err != nil {
						t.Fatal(err)
					}
					x.SetWriteDeadline(time.Now().Add(time.Millisecond))
					if i == 0 { // some data goes out by the initial credit, in any case
						_, _ = x.Write(data[:10])
					}
					if i == streams-1 {
						p.binary(credit)
						synctest.Wait()
					}
					if n, err := x.Write(data); err == nil {
						t.Fatalf("%d bytes were taken", n)
					}
				}
				m.Sample()
				start := time.Now()
				for second := 0; p.s.Context().Err() == nil && second < 70; second++ {
					p.binary(append(capsule.AppendDatagramHeader(nil, 20), make([]byte, 20)...)) // it lives
					if tt.read > 0 {
						_, _ = p.nc.Read(make([]byte, tt.read))
					}
					time.Sleep(time.Second)
				}
				m.Sample()
				cause = context.Cause(p.s.Context())
				// The last bytes of a write may be among those that were read; then
				// the next one has its time.
				most := DefaultWriteTimeout * time.Duration(1+tt.read)
				if d := time.Since(start); cause == nil || d > most+2*time.Second {
					t.Errorf("%v after %v", cause, d)
				}
				p.nc.Close()
				<-p.c.done
				p.wantGone()
			})
			m.End(cause)
		})
	}
}

// TestHostileAbandoned has sessions opened and then left alone, or never let go.
func TestHostileAbandoned(t *testing.T) {
	const sessions = 200
	for _, tt := range []struct {
		name, reaction string
		limit          transport.Limit
		before         func(p *rawPeer)
		within         time.Duration
	}{
		{"sessions opened and abandoned", "each ends when it answers no ping", transport.LimitPingTime,
			func(*rawPeer) {}, DefaultKeepAlive + DefaultPingTimeout},
		{"a Close frame that is never answered", "each connection is cut after Config.CloseTimeout", transport.LimitCloseTime,
			func(p *rawPeer) { p.c.sess.StartClose(7, "bye") }, 2 * transport.DefaultCloseTimeout},
		{"half a frame, and then nothing", "each ends when it answers no ping", transport.LimitPingTime,
			func(p *rawPeer) { p.raw(p.encode(ws.OpBinary, true, padding(60_000))[:20_000]) }, DefaultKeepAlive + DefaultPingTimeout},
	} {
		t.Run("DS-14 DS-15 "+tt.name, func(t *testing.T) {
			var m *hostile.Meter
			var err error
			synctest.Test(t, func(*testing.T) {
				watch := new(told)
				srv := NewServer(&Config{Monitor: watch})
				defer srv.Close()
				connectTo(t, srv).nc.Close() // what is made once
				synctest.Wait()
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name, Victim: "ws", Limit: tt.limit, Reaction: tt.reaction,
					// Each with its part of a long frame that waits to be written.
					Bytes: sessions * (idleBytes + bigBuffer), Goroutines: 2 * sessions,
				})
				start := time.Now()
				peers := make([]*rawPeer, sessions)
				for i := range peers {
					peers[i] = connectTo(t, srv)
				}
				for _, p := range peers {
					tt.before(p)
				}
				synctest.Wait()
				m.Sample()
				for _, p := range peers {
					<-p.c.done
				}
				if d := time.Since(start); d > tt.within {
					t.Errorf("the last ended after %v", d)
				}
				watch.mu.Lock()
				defer watch.mu.Unlock()
				if len(watch.ends) != sessions+1 {
					t.Fatalf("%d ends were told", len(watch.ends))
				}
				err = watch.ends[sessions]
				for _, p := range peers {
					p.nc.Close()
				}
				peers[0].wantGone()
			})
			if err == nil {
				t.Error("no connection ended for a limit")
			}
			m.End(err)
		})
	}
}

// TestHostileAddress has one client open all the sessions it can.
func TestHostileAddress(t *testing.T) {
	const most, attempts = 100, 2000
	for _, tt := range []struct {
		name  string
		cfg   Config
		limit transport.Limit
	}{
		{"sessions of one address", Config{MaxSessionsPerAddress: most, SessionRate: -1}, transport.LimitSessionsPerAddress},
		{"sessions of one address in one second", Config{SessionRate: most / 2}, transport.LimitSessionRate},
	} {
		t.Run("DS-15 "+tt.name, func(t *testing.T) {
			var m *hostile.Meter
			var refused error
			synctest.Test(t, func(*testing.T) {
				srv := NewServer(&tt.cfg)
				defer srv.Close()
				open(t, srv, "192.0.2.9:1").Close()
				synctest.Wait()
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name, Victim: "ws", Limit: tt.limit, Reaction: "429 with Retry-After",
					Bytes: most * (idleBytes + 4<<10), Goroutines: 2 * most, // with the request's header
				})
				ends := make([]*memconn.Conn, 0, most)
				for range attempts {
					r := openingRequest()
					r.RemoteAddr = "192.0.2.7:1000"
					w := httptest.NewRecorder()
					c, nc := memconn.Pipe(attackWire)
					if _, err := srv.Upgrade(hijacker{w, nc}, r, nil); err != nil {
						if refused = err; w.Code != 429 || w.Header().Get("Retry-After") == "" {
							t.Fatalf("status %d, %v", w.Code, err)
						}
						continue
					}
					ends = append(ends, c)
				}
				synctest.Wait()
				m.Sample()
				if len(ends) != most {
					t.Errorf("%d sessions were accepted, want %d", len(ends), most)
				}
				if err := tryOpen(srv, "192.0.2.8:1"); err != nil {
					t.Errorf("a bystander: %v", err)
				}
				for _, c := range ends {
					c.Close()
				}
			})
			m.End(refused)
		})
	}
}

// TestHostileHoarding has many sessions fill the windows that they were given, of
// streams that the application does not read.
func TestHostileHoarding(t *testing.T) {
	const sessions, memory = 40, 4 << 20
	t.Run("DS-19 sessions that fill their windows", func(t *testing.T) {
		var m *hostile.Meter
		var cause error
		synctest.Test(t, func(*testing.T) {
			srv := NewServer(&Config{MaxServerMemory: memory, KeepAlive: -1})
			defer srv.Close()
			old := connectTo(t, srv) // a quiet session of long standing
			synctest.Wait()
			m = hostile.Start(t, hostile.Attack{
				Name: "sessions that fill their windows with data that nobody reads", Victim: "ws", Limit: transport.LimitMemory,
				Reaction: "Close 1008 to the newest of those that hold most",
				// The documented bound, what a buffer may have beside its bytes, the
				// session that goes beyond, and the sessions themselves.
				Bytes: memory*5/4 + 1<<20 + sessions*(idleBytes+bigBuffer+32<<10), Goroutines: 2 * sessions,
			})
			old.binary(streamCapsule(0, false, "quiet"))
			peers := make([]*rawPeer, sessions)
			for i := range peers {
				p := connectTo(t, srv)
				peers[i] = p
				for stream := range uint64(17) { // 1,020 KiB
					if _, err := p.nc.Write(p.encode(ws.OpBinary, true, streamCapsule(4*stream, false, string(make([]byte, 60<<10))))); err != nil {
						break // it has ended
					}
				}
				synctest.Wait()
				if held := srv.budget.Held(); held > memory+1<<20 {
					t.Errorf("%d bytes are held", held)
				}
			}
			m.Sample()
			ended := 0
			for _, p := range peers {
				if err := context.Cause(p.s.Context()); err != nil {
					ended++
					cause = err
				}
			}
			if ended < sessions-memory>>20 {
				t.Errorf("%d of %d sessions were ended", ended, sessions)
			}
			x, err := old.s.AcceptStream(context.Background())
			if err != nil {
				t.Fatalf("the quiet session: %v", err)
			}
			b := make([]byte, 10)
			if n, err := x.Read(b); string(b[:n]) != "quiet" {
				t.Errorf("the quiet session: %q, %v", b[:n], err)
			}
			for _, p := range append(peers, old) {
				p.nc.Close()
				<-p.c.done
			}
			old.wantGone()
		})
		m.End(cause)
	})
}
