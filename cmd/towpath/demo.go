package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

type demoCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown by demo --help.
func (*demoCmd) Help() string {
	return `Server and client run in this process and meet on loopback, with real sockets. The
same Dial meets four networks: UDP is open; UDP packets vanish in a socket that
never answers; the UDP port is closed and the kernel says so; UDP vanishes, and
TCP leads to a middlebox that ends TLS and speaks HTTP/1.1 alone. (That is a relay
in this process with the server's own key, where a real one has a certificate of
its own that the client trusts.) In each the client dials twice, and echoes
streams and datagrams over the first session.`
}

const (
	demoStreams   = 8
	demoBytes     = 64 << 10 // a stream
	demoDatagrams = 16
	demoTime      = 20 * time.Second
)

// A scene is one network of the demo.
type scene struct {
	Name string `json:"network"`
	udp  func(tcp net.Addr) (server, hole net.PacketConn, err error)
	// http11 puts a middlebox before the server that lets only HTTP/1.1 through.
	http11 bool
	want   transport.Protocol
}

var scenes = []scene{
	{Name: "UDP open", udp: func(tcp net.Addr) (net.PacketConn, net.PacketConn, error) {
		pc, err := net.ListenPacket("udp", tcp.String())
		return pc, nil, err
	}, want: transport.HTTP3},
	{Name: "UDP silently dropped", udp: dropUDP, want: transport.HTTP2},
	{Name: "UDP refused", udp: func(net.Addr) (net.PacketConn, net.PacketConn, error) {
		return nil, nil, nil
	}, want: transport.HTTP2},
	{Name: "only HTTP/1.1", udp: dropUDP, http11: true, want: transport.WebSocket},
}

// dropUDP lets packets reach a socket that nobody reads.
func dropUDP(tcp net.Addr) (server, hole net.PacketConn, err error) {
	pc, err := net.ListenPacket("udp", tcp.String())
	return nil, pc, err
}

// A sceneResult is what happened in a network.
type sceneResult struct {
	scene
	Transport string            `json:"transport"`
	First     float64           `json:"first_dial_ms"`
	Again     float64           `json:"second_dial_ms"`
	Streams   int               `json:"streams_echoed"`
	Datagrams int               `json:"datagrams_echoed"`
	Why       string            `json:"why"`
	Report    *negotiate.Report `json:"report"`
	Second    *negotiate.Report `json:"second_report"`
}

// Run shows the four networks.
func (c *demoCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	cert, err := selfSigned("127.0.0.1", time.Now())
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintln(std.out, "A server and a client in this process, and four networks on loopback: the same\nDial finds the open way in each, and remembers it.")
		fmt.Fprintln(std.out)
		fmt.Fprintf(std.out, demoRow, "network", "transport", "first dial", "next dial", "streams", "datagrams")
	}
	var results []sceneResult
	for _, sc := range scenes {
		r, err := sc.play(ctx, cert)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.Name, err)
		}
		results = append(results, *r)
		if !c.JSON {
			r.print(std.out)
		}
	}
	if c.JSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	fmt.Fprintln(std.out, "\nThe streams and datagrams are echoes. Next: towpath serve.")
	return nil
}

// play runs server and client in a network.
func (sc scene) play(ctx context.Context, cert tls.Certificate) (*sceneResult, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	front := ln.Addr()
	if sc.http11 {
		m, err := newMiddlebox(ln.Addr().String(), cert)
		if err != nil {
			ln.Close()
			return nil, err
		}
		defer m.Close()
		front = m.Addr()
	}
	pc, hole, err := sc.udp(front)
	if err != nil {
		ln.Close()
		return nil, err
	}
	if hole != nil {
		defer hole.Close()
	}
	h, err := newResources("", nil)
	if err != nil {
		return nil, err
	}
	srv := &negotiate.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: h}
	url := "https://" + front.String() + "/echo"
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln, pc) }() // ends with Close; waited for below
	defer func() {
		srv.Close()
		<-served
	}()

	marked := make(chan struct{}, 1)
	d := &negotiate.Dialer{
		CertificateHashes: [][sha256.Size]byte{negotiate.CertificateHash(cert.Certificate[0])},
		Trace:             &negotiate.Trace{Marked: func(string, time.Time) { tell(marked) }},
	}
	defer d.Close()
	s, report, err := d.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	r := &sceneResult{scene: sc, Transport: report.Winner.String(), First: float64(report.Elapsed) / 1e6, Report: report}
	if r.Streams, err = echoStreams(ctx, s); err != nil {
		return nil, err
	}
	if r.Datagrams, err = echoDatagrams(ctx, s); err != nil {
		return nil, err
	}
	if err := s.CloseWithError(0, "bye"); err != nil {
		return nil, err
	}
	// Whether UDP is broken or merely slow is known a little later.
	if report.Winner != transport.HTTP3 {
		select {
		case <-marked:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	s, again, err := d.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	r.Again, r.Second = float64(again.Elapsed)/1e6, again
	if err := s.CloseWithError(0, "bye"); err != nil {
		return nil, err
	}
	if report.Winner != sc.want {
		return nil, fmt.Errorf("negotiated %v, not %v:\n%v", report.Winner, sc.want, report)
	}
	r.Why = why(report)
	return r, nil
}

// tell sends without waiting.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// why says what decided a dial.
func why(r *negotiate.Report) string {
	var udp, tcp *negotiate.Attempt
	for i := range r.Attempts {
		switch a := &r.Attempts[i]; a.Protocol {
		case transport.HTTP3:
			udp = a
		case transport.HTTP2:
			tcp = a
		}
	}
	switch {
	case r.Winner == transport.WebSocket && udp != nil && tcp != nil && !udp.Heard && errors.Is(tcp.Err, negotiate.ErrNoHTTP2):
		return fmt.Sprintf("no UDP packet came back; at %d ms a TLS relay chose HTTP/1.1, so WebSocket", tcp.Ended.Milliseconds())
	case r.Winner == transport.HTTP3:
		return "QUIC answered; TCP was not needed"
	case udp != nil && verdict(*udp) == "refused":
		return "the kernel reported the closed UDP port, so TCP started at once; remembered"
	case udp != nil && tcp != nil && !udp.Heard:
		return fmt.Sprintf("no UDP packet came back, so TCP started after %d ms; remembered", tcp.Started.Milliseconds())
	}
	return ""
}

// echoStreams sends bytes over several streams at once and checks what comes back.
func echoStreams(ctx context.Context, s transport.Session) (n int, err error) {
	errs := make(chan error, demoStreams)
	for i := range demoStreams {
		go func() { errs <- echoOne(ctx, s, byte(i)) }() // ends with the stream or the session
	}
	for range demoStreams {
		if e := <-errs; e != nil {
			err = e
			continue
		}
		n++
	}
	return n, err
}

func echoOne(ctx context.Context, s transport.Session, fill byte) error {
	st, err := s.OpenStream(ctx)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := st.SetDeadline(deadline); err != nil {
			return err
		}
	}
	sent := bytes.Repeat([]byte{fill}, demoBytes)
	wrote := make(chan error, 1)
	go func() { // ends with the stream
		_, err := st.Write(sent)
		if err == nil {
			err = st.Close()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(io.LimitReader(st, demoBytes+1))
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("a stream of %d bytes came back as %d other ones", len(sent), len(got))
	}
	if err != nil {
		st.CancelWrite(0)
		<-wrote
		return err
	}
	return <-wrote
}

// echoDatagrams sends datagrams one after the other; a lost one is sent again.
func echoDatagrams(ctx context.Context, s transport.Session) (n int, err error) {
	for i := range demoDatagrams {
		msg := fmt.Appendf(nil, "datagram %d", i)
		for {
			if err := s.SendDatagram(msg); err != nil {
				return n, err
			}
			rctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			got, err := s.ReceiveDatagram(rctx)
			cancel()
			if err == nil && bytes.Equal(got, msg) {
				n++
				break
			}
			if err != nil && rctx.Err() == nil || ctx.Err() != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// demoRow is the format of a line of the table.
const demoRow = "%-20s  %-9s  %10s  %9s  %7s  %9s\n"

// print tells of a network as soon as it was played.
func (r *sceneResult) print(w io.Writer) {
	fmt.Fprintf(w, demoRow, r.Name, r.Transport, millis(r.First), millis(r.Again),
		fmt.Sprintf("%d/%d", r.Streams, demoStreams), fmt.Sprintf("%d/%d", r.Datagrams, demoDatagrams))
	fmt.Fprintf(w, "  %s\n", r.Why)
}
