package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/watch"
	"github.com/towpath-go/towpath/transport"
)

// A process is what server and client have in common: orders come in, messages
// go out.
type process struct {
	side   string
	out    *ledger.Writer
	orders chan ledger.Order
}

// start begins to read orders. When they end, the process does: what started it
// has gone, however that happened.
func start(side string, in io.Reader, out io.Writer) *process {
	p := &process{side: side, out: ledger.NewWriter(out), orders: make(chan ledger.Order)}
	go func() { // ends with the process
		ledger.Lines(in, func(o ledger.Order) bool {
			if o.Stacks {
				p.emit(ledger.Message{Stacks: watch.Stacks()})
			} else {
				p.orders <- o
			}
			return true
		})
		os.Exit(0)
	}()
	return p
}

func (p *process) emit(m ledger.Message) {
	if p.out.Write(m) != nil {
		os.Exit(0) // nobody listens any more
	}
}

// begin waits for the first order, which begins the run.
func (p *process) begin() ledger.Begin {
	for o := range p.orders {
		if o.Begin != nil {
			return *o.Begin
		}
	}
	panic("BUG: soak: orders do not end")
}

// untilStop waits for the order to stop.
func (p *process) untilStop() {
	for o := range p.orders {
		if o.Stop {
			return
		}
	}
}

// report emits what counts returns every second and looks at memory now and
// then, until the function that it returns is called.
func (p *process) report(s ledger.Settings, counts func() ledger.Counts, account func() int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	every := func(period time.Duration, f func()) {
		all.Go(func() { // ends when stopped
			t := time.NewTicker(period)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					f()
				}
			}
		})
	}
	begin := time.Now()
	every(time.Second, func() {
		c := counts()
		p.emit(ledger.Message{Counts: &c})
	})
	every(s.SampleEvery, func() {
		sample := watch.Sample(p.side, begin)
		if account != nil {
			sample.Account = account()
		}
		p.emit(ledger.Message{Sample: &sample})
	})
	return func() { cancel(); all.Wait() }
}

// fail ends the process with a message.
func (p *process) fail(err error) int {
	p.emit(ledger.Message{Failed: err.Error()})
	return 1
}

// sessionConfig is what sessions have on both sides: the defaults.
func sessionConfig() *transport.Config { return &transport.Config{} }

// quicConfig has a peer that has vanished noticed in about the time that it
// takes over TCP.
func quicConfig(s ledger.Settings) *quic.Config {
	return &quic.Config{MaxIdleTimeout: 2 * s.Detect, KeepAlivePeriod: s.Detect / 2}
}

// trusted is the client's configuration of TLS for a server with that
// certificate.
func trusted(cert []byte) (*tls.Config, error) {
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool}, nil
}
