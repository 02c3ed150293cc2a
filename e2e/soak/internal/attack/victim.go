package attack

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/peers"
	"github.com/towpath-go/towpath/e2e/soak/internal/process"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// Victim is the process of the server that is attacked.
func Victim(in io.Reader, out io.Writer) int {
	p := process.Start(ledger.Victim, in, out)
	p.Begin()
	tlsConf, cert, err := peers.Certificate()
	if err != nil {
		return p.Fail(err)
	}
	server := &negotiate.Server{TLSConfig: tlsConf, Handler: http.HandlerFunc(serve)}
	ln, pc, err := negotiate.Listen("127.0.0.1:0")
	if err != nil {
		return p.Fail(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln, pc) }() // ends with Close
	p.Emit(ledger.Message{Ready: &ledger.Ready{Address: ln.Addr().String(), Cert: cert}})
	for o := range p.Orders {
		switch {
		case o.Usage:
			u := watch.Used(p.Side)
			p.Emit(ledger.Message{Usage: &u})
		case o.Stop:
			server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				return p.Fail(err)
			}
			p.Emit(ledger.Message{Left: &ledger.Left{Side: p.Side, Usage: watch.Used(p.Side)}})
			return 0
		}
	}
	return 0
}

// serve echoes what comes in a session, and answers a few bytes otherwise.
func serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/echo" {
		io.WriteString(w, "a page\n")
		return
	}
	s, err := negotiate.Upgrade(w, r, nil)
	if err != nil {
		return // the client is told
	}
	go echoDatagrams(s) // ends with the session
	go echoStreams(s)   // ends with the session
}

func echoDatagrams(s transport.Session) {
	for {
		p, err := s.ReceiveDatagram(context.Background())
		if err != nil {
			return
		}
		s.SendDatagram(p)
	}
}

var buffers = sync.Pool{New: func() any { return new([8 << 10]byte) }}

func echoStreams(s transport.Session) {
	go func() { // ends with the session
		for {
			u, err := s.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			u.SetReadDeadline(time.Now().Add(time.Minute))
			go io.Copy(io.Discard, u) // ends with the stream, or its deadline
		}
	}()
	for {
		b, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() { // ends with the stream
			buf := buffers.Get().(*[8 << 10]byte)
			defer buffers.Put(buf)
			for {
				n, err := b.Read(buf[:])
				if n > 0 {
					if _, err := b.Write(buf[:n]); err != nil {
						b.CancelRead(0)
						return
					}
				}
				if err != nil {
					b.Close()
					return
				}
			}
		}()
	}
}
