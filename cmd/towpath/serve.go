package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// shutdownTime bounds the graceful end of a server.
const shutdownTime = 5 * time.Second

type serveCmd struct {
	Addr      string   `help:"Address to listen on, UDP and TCP. Port 0 means any free one. Default: ${default}." default:"127.0.0.1:4433" placeholder:"HOST:PORT"`
	Cert      string   `help:"PEM file with the certificate chain. Default: a self-signed certificate for 13 days." placeholder:"FILE"`
	Key       string   `help:"PEM file with the private key of --cert." placeholder:"FILE"`
	Transport []string `help:"Transports to serve: h3, h2, ws. May be repeated. Default: all." placeholder:"NAME"`
	Root      string   `help:"Serve the static files of this directory, instead of the page." placeholder:"DIR"`
	Origin    []string `help:"Also accept sessions from web pages of this origin: HOST:PORT, or SCHEME://HOST:PORT, with * as a wildcard. * alone accepts every one, null too. May be repeated." placeholder:"PATTERN"`
	Protocol  []string `help:"Speak this application protocol with clients that offer it. May be repeated." placeholder:"NAME" sep:"none"`

	MaxSessions           limit `help:"Sessions at once. Default: ${default}." default:"20000" placeholder:"N"`
	MaxSessionsPerAddress limit `help:"Sessions at once of one client address. Default: ${default}." default:"4000" placeholder:"N"`
	SessionRate           limit `help:"New sessions per second of one client address; twice as many at once. Default: ${default}." default:"1000" placeholder:"N"`

	Metrics string `help:"Serve metrics for Prometheus (OpenMetrics) at http://HOST:PORT/metrics." placeholder:"HOST:PORT"`
	Qlog    string `help:"Write the events of each session to a file in this directory." placeholder:"DIR"`
	Verbose bool   `short:"v" help:"Log events on standard error."`
}

// A limit is a number from 1.
type limit int32

// UnmarshalText is for kong.
func (l *limit) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no limit: write a number from 1 to %d, or leave it out", text, math.MaxInt32)
	}
	*l = limit(n)
	return nil
}

// Help is shown by serve --help.
func (*serveCmd) Help() string {
	return `Open https://HOST:PORT/ in a browser: a page there connects to the server, and
shows which way was taken, round-trip times and throughput. A self-signed
certificate has to be accepted once. With --root there is no such page.

Resources:
  /echo                  sends streams and datagrams back
     ?srv=1              and opens streams itself
     ?reset=N            answers the first bytes of a stream with a reset
     ?close=N            closes the session with code N;
                         &reason=TEXT, &after=MILLISECONDS
  /discard               reads and drops
  /source?bytes=N        sends N bytes on a unidirectional stream;
                         connect --uni prints them

The first line printed is for programs:
  listening addr=HOST:PORT cert-sha256=HEX transports=h3,h2,ws
and with --metrics there is a line
  metrics http://HOST:PORT/metrics

Ctrl-C asks clients to end their sessions and waits up to 5 s for that.`
}

// Run serves until a signal comes.
func (c *serveCmd) Run(ctx context.Context, io streams) error {
	ps, names, host, err := c.check()
	if err != nil {
		return err
	}
	var cert tls.Certificate
	if c.Cert != "" {
		cert, err = loadCertificate(c.Cert, c.Key)
	} else {
		cert, err = selfSigned(host, time.Now())
	}
	if err != nil {
		return err
	}
	h, err := newResources(c.Root, c.Origin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--root: there is no directory %s", c.Root)
	case err != nil:
		return fmt.Errorf("--root: %w", err)
	}
	h.upgrade.Protocols = c.Protocol
	hash := negotiate.CertificateHash(cert.Certificate[0])
	if c.Root == "" {
		settings := pageSettings{Transports: names}
		if c.Cert == "" {
			settings.CertificateHashes = []string{base64.StdEncoding.EncodeToString(hash[:])}
			settings.CertificateExpires = &cert.Leaf.NotAfter
		}
		if h.page, err = newPage(settings); err != nil {
			return err
		}
	}
	srv := &negotiate.Server{
		TLSConfig:             &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler:               h,
		Transports:            ps,
		MaxSessions:           int(c.MaxSessions),
		MaxSessionsPerAddress: int(c.MaxSessionsPerAddress),
		SessionRate:           int(c.SessionRate),
		// A WebSocket has a connection of its own.
		MaxConnections:           max(int(c.MaxSessions), h2wt.DefaultMaxConnections),
		MaxConnectionsPerAddress: max(int(c.MaxSessionsPerAddress), h2wt.DefaultMaxConnectionsPerAddress),
		Logger:                   verboseLogger(io.err, c.Verbose),
	}
	srv.Config = &transport.Config{Logger: srv.Logger}
	log, err := openQlog(c.Qlog, io)
	if err != nil {
		return err
	}
	if log != nil {
		srv.Config.Qlog = log
		defer log.wait(qlogTime)
	}
	var watch net.Listener
	if c.Metrics != "" {
		if watch, err = net.Listen("tcp", c.Metrics); err != nil {
			return explainListen("--metrics", c.Metrics, err)
		}
		defer serveMetrics(srv, watch)()
	}
	ln, pc, err := negotiate.Listen(c.Addr, ps...)
	if err != nil {
		return explainListen("--addr", c.Addr, err)
	}
	var addr net.Addr
	if ln != nil {
		addr = ln.Addr()
	} else {
		addr = pc.LocalAddr()
	}
	fmt.Fprintf(io.out, "listening addr=%s cert-sha256=%s transports=%s\n", addr, hex.EncodeToString(hash[:]), strings.Join(names, ","))
	if c.Cert == "" {
		fmt.Fprintf(io.out, "self-signed certificate, valid until %s, SHA-256 in base64: %s\n",
			cert.Leaf.NotAfter.Format(time.DateTime), base64.StdEncoding.EncodeToString(hash[:]))
	}
	if h.page != nil {
		fmt.Fprintln(io.out, pageLine(ps, browsable(addr, c.Cert != "", cert.Leaf)))
	}
	if c.Cert == "" {
		fmt.Fprintf(io.out, "try: towpath connect -v --cert-hash %s https://%s/echo\n", hex.EncodeToString(hash[:]), reachable(addr))
	}
	if watch != nil {
		printMetrics(io, watch.Addr())
	}
	return c.serve(ctx, io, srv, h, ln, pc)
}

// serve serves until ctx ends, and then ends gracefully.
func (c *serveCmd) serve(ctx context.Context, io streams, srv *negotiate.Server, h *resources, ln net.Listener, pc net.PacketConn) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		told := tellOfWaiting(io, h)
		err := srv.Shutdown(sctx)
		told(sctx.Err() != nil)
		stopped <- err
	})
	err := srv.Serve(ln, pc)
	if !stop() {
		// Sessions that do not end in time are closed; that is a success too.
		if serr := <-stopped; serr != nil && !errors.Is(serr, context.DeadlineExceeded) {
			return serr
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// waitingSilence is how long an end may take without a word.
const waitingSilence = 200 * time.Millisecond

// tellOfWaiting says what the end of a server waits for, unless it is quick. The
// function that it returns is called at the end, with whether time ran out.
func tellOfWaiting(io streams, h *resources) (ended func(late bool)) {
	t := time.AfterFunc(waitingSilence, func() {
		what := "connections"
		if n := h.open.Load(); n > 0 {
			what = count(n, "session")
		}
		fmt.Fprintf(io.err, "towpath: waiting up to %v for %s to end; Ctrl-C again ends at once\n", shutdownTime, what)
	})
	open := h.open.Load() // those who stay to the end are among them
	return func(late bool) {
		if t.Stop(); late && open > 0 {
			fmt.Fprintln(io.err, "towpath: sessions that had not ended were closed")
		}
	}
}

// count is a number of things.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// check finds the mistakes in the flags. Names are the transports' names.
func (c *serveCmd) check() (ps []transport.Protocol, names []string, host string, err error) {
	fail := func(err error) ([]transport.Protocol, []string, string, error) { return nil, nil, "", err }
	if c.Transport != nil && len(c.Transport) == 0 {
		return fail(usagef("--transport is empty: use h3, h2 or ws, or leave it out for all"))
	}
	for _, n := range c.Transport {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if ps, err = transports(names); err != nil {
		return fail(err)
	}
	if len(names) == 0 {
		names = []string{"h3", "h2", "ws"}
	}
	if host, err = checkAddr("--addr", c.Addr, "127.0.0.1:4433, or :4433 for all interfaces"); err != nil {
		return fail(err)
	}
	if c.Metrics != "" {
		if _, err = checkAddr("--metrics", c.Metrics, "127.0.0.1:9464"); err != nil {
			return fail(err)
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return fail(usagef("--cert and --key belong together: give both, or none for a self-signed certificate"))
	}
	for _, p := range c.Origin {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fail(usagef("--origin %q is no pattern: write HOST:PORT, *.example.com, or *", p))
		}
	}
	if err = checkProtocols(c.Protocol); err != nil {
		return fail(err)
	}
	return ps, names, host, nil
}

// pageLine tells of the page. A browser asks for it over TCP first, and has
// sessions over HTTP/3 and WebSocket.
func pageLine(ps []transport.Protocol, at string) string {
	tcp, session := ps == nil, ps == nil
	for _, p := range ps {
		tcp = tcp || p != transport.HTTP3
		session = session || p != transport.HTTP2
	}
	switch {
	case !tcp:
		return "a browser cannot open the page at /: it asks over TCP first, so serve h2 or ws as well"
	case !session:
		return fmt.Sprintf("the page https://%s/ opens in a browser but cannot connect: browsers need h3 or ws, so serve one as well", at)
	}
	return fmt.Sprintf("open https://%s/ in a browser", at)
}
