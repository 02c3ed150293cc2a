package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Patience bounds every scenario. No test waits for it to pass, so that it can be
// long enough for a machine that runs much else.
const Patience = time.Minute

// A Link makes sessions of one row.
type Link interface {
	// Session opens a session whose client offers the protocols, and returns
	// both ends. The server speaks the protocol "second" only.
	Session(t *testing.T, offer ...string) (client, server End)
}

// An End is one end of a session, whoever's it is.
type End interface {
	Open(ctx context.Context, uni bool) (Stream, error)
	// Accept waits for the next stream that the other end opened.
	Accept(ctx context.Context, uni bool) (Stream, error)
	SendDatagram(ctx context.Context, p []byte) error
	ReceiveDatagram(ctx context.Context) ([]byte, error)
	// Protocol is the application protocol chosen.
	Protocol() string
	Close(ctx context.Context, code uint32, reason string) error
	// Closed waits until the other end has closed the session, and returns
	// what it said.
	Closed(ctx context.Context) (code uint32, reason string, err error)
}

// A Stream is one end of a stream. Of a unidirectional one only the methods of
// its direction work.
type Stream interface {
	Write(ctx context.Context, p []byte) error
	Finish(ctx context.Context) error
	Reset(ctx context.Context, code uint32) error
	// WasStopped writes until the other end asks to stop, and returns its code.
	WasStopped(ctx context.Context) (code uint32, err error)

	// Read returns as many bytes as p of the other end's write has.
	Read(ctx context.Context, n int) ([]byte, error)
	// ReadAll returns everything up to the clean end.
	ReadAll(ctx context.Context) ([]byte, error)
	Stop(ctx context.Context, code uint32) error
	// WasReset reads until the other end resets, and returns its code.
	WasReset(ctx context.Context) (code uint32, err error)
}

// Scenarios are what the columns mean.
var Scenarios = [ColumnCount]func(t *testing.T, l Link){
	Bidi: func(t *testing.T, l Link) {
		ctx := Limited(t)
		client, server := l.Session(t)
		Must(t, Echo(ctx, client, server, false, "asked on a bidirectional stream"))
	},
	Uni: func(t *testing.T, l Link) {
		ctx := Limited(t)
		client, server := l.Session(t)
		Must(t, OneWay(ctx, client, server, "told on a unidirectional stream"))
	},
	ServerStreams: func(t *testing.T, l Link) {
		ctx := Limited(t)
		client, server := l.Session(t)
		Must(t, Echo(ctx, server, client, false, "the server asks"))
		Must(t, OneWay(ctx, server, client, "the server tells"))
	},
	Datagrams: func(t *testing.T, l Link) {
		ctx := Limited(t)
		client, server := l.Session(t)
		Must(t, Datagram(ctx, client, server, "a datagram of the client"))
		Must(t, Datagram(ctx, server, client, "a datagram of the server"))
	},
	Mebibyte: func(t *testing.T, l Link) {
		ctx := Limited(t)
		client, server := l.Session(t)
		Must(t, Echo(ctx, client, server, true, string(Pattern(1<<20))))
	},
	ResetCode:     func(t *testing.T, l Link) { Resets(t, l, WideCode, WideCode-1) },
	StopCode:      func(t *testing.T, l Link) { Stops(t, l, WideCode, WideCode-1) },
	CloseByClient: func(t *testing.T, l Link) { Closes(t, l, true) },
	CloseByServer: func(t *testing.T, l Link) { Closes(t, l, false) },
	Subprotocol: func(t *testing.T, l Link) {
		client, server := l.Session(t, "first", "second")
		if c, s := client.Protocol(), server.Protocol(); c != "second" || s != "second" {
			t.Errorf("the client has the protocol %q, the server %q", c, s)
		}
	},
	SeveralSessions: func(t *testing.T, l Link) {
		ctx := Limited(t)
		var clients, servers [3]End
		for i := range clients {
			clients[i], servers[i] = l.Session(t)
		}
		both := func(from int) {
			var all sync.WaitGroup
			errs := make([]error, len(clients))
			for i := from; i < len(clients); i++ {
				all.Go(func() {
					errs[i] = Echo(ctx, clients[i], servers[i], false, fmt.Sprintf("asked in session %d", i))
				})
			}
			all.Wait()
			Must(t, errors.Join(errs...))
		}
		both(0)
		Must(t, clients[0].Close(ctx, 1, ""))
		if _, _, err := servers[0].Closed(ctx); err != nil {
			t.Error(err)
		}
		both(1) // the others live on
	},
}

// WideCode is an application error code that needs all 32 bits.
const WideCode = 4_000_000_001

// Limited returns a context that bounds a scenario.
func Limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Pattern returns n bytes that repeat with a prime period, so that no frame or
// window hides a piece that is missing.
func Pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// Echo asks on a bidirectional stream that one end opens, and the other
// answers: with other bytes, after the end of the question, or at the same
// time.
func Echo(ctx context.Context, asks, answers End, atOnce bool, question string) error {
	answer := "answer to " + question
	st, err := asks.Open(ctx, false)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	asked := make(chan error, 1)
	ask := func() { asked <- errors.Join(st.Write(ctx, []byte(question)), st.Finish(ctx)) }
	answered := make(chan error, 1)
	go func() { // ends with ctx at the latest
		answered <- func() error {
			st, err := answers.Accept(ctx, false)
			if err != nil {
				return fmt.Errorf("accepting: %w", err)
			}
			sent := make(chan error, 1)
			send := func() { sent <- errors.Join(st.Write(ctx, []byte(answer)), st.Finish(ctx)) }
			if atOnce {
				go send() // ends with ctx at the latest
			}
			if err := Expect(st, ctx, question); err != nil {
				return fmt.Errorf("the question: %w", err)
			}
			if !atOnce {
				send()
			}
			return <-sent
		}()
	}()
	go ask() // ends with ctx at the latest
	err = Expect(st, ctx, answer)
	if err != nil {
		err = fmt.Errorf("the answer: %w", err)
	}
	return errors.Join(err, <-asked, <-answered)
}

// OneWay sends a message on a unidirectional stream.
func OneWay(ctx context.Context, from, to End, message string) error {
	out, err := from.Open(ctx, true)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if err := errors.Join(out.Write(ctx, []byte(message)), out.Finish(ctx)); err != nil {
		return err
	}
	in, err := to.Accept(ctx, true)
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	return Expect(in, ctx, message)
}

func Expect(st Stream, ctx context.Context, want string) error {
	got, err := st.ReadAll(ctx)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", len(got), len(want), err)
	}
	if string(got) != want {
		return fmt.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(want))
	}
	return nil
}

// Datagram sends a datagram until one arrives: a network may lose some.
func Datagram(ctx context.Context, from, to End, message string) error {
	type received struct {
		p   []byte
		err error
	}
	arrived := make(chan received, 1)
	go func() { // ends with ctx at the latest
		p, err := to.ReceiveDatagram(ctx)
		arrived <- received{p, err}
	}()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		if err := from.SendDatagram(ctx, []byte(message)); err != nil {
			return err
		}
		select {
		case r := <-arrived:
			if r.err == nil && !bytes.Equal(r.p, []byte(message)) {
				return fmt.Errorf("the datagram %q arrived", r.p)
			}
			return r.err
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Asked opens a bidirectional stream and makes the other end know it.
func Asked(t *testing.T, ctx context.Context, asks, answers End) (ours, theirs Stream) {
	t.Helper()
	ours, err := asks.Open(ctx, false)
	Must(t, err)
	Must(t, ours.Write(ctx, []byte("first")))
	theirs, err = answers.Accept(ctx, false)
	Must(t, err)
	p, err := theirs.Read(ctx, len("first"))
	Must(t, err)
	if string(p) != "first" {
		t.Fatalf("%q arrived", p)
	}
	return ours, theirs
}

// Resets has each end reset a stream, and the other learn its code.
func Resets(t *testing.T, l Link, fromClient, fromServer uint32) {
	ResetsLearnt(t, l, fromClient, fromServer, fromClient, fromServer)
}

// ResetsLearnt is resets where an end learns another code than was sent.
func ResetsLearnt(t *testing.T, l Link, fromClient, fromServer, byServer, byClient uint32) {
	ctx := Limited(t)
	client, server := l.Session(t)
	ours, theirs := Asked(t, ctx, client, server)
	Must(t, ours.Reset(ctx, fromClient))
	WantCode(t, ctx, "the server's reading", theirs.WasReset, byServer)
	ours, theirs = Asked(t, ctx, client, server)
	Must(t, theirs.Reset(ctx, fromServer))
	WantCode(t, ctx, "the client's reading", ours.WasReset, byClient)
}

// Stops has each end ask to stop, and the other learn its code.
func Stops(t *testing.T, l Link, fromClient, fromServer uint32) {
	StopsLearnt(t, l, fromClient, fromServer, fromClient, fromServer)
}

// StopsLearnt is stops where an end learns another code than was sent.
func StopsLearnt(t *testing.T, l Link, fromClient, fromServer, byServer, byClient uint32) {
	ctx := Limited(t)
	client, server := l.Session(t)
	ours, theirs := Asked(t, ctx, client, server)
	Must(t, ours.Stop(ctx, fromClient))
	WantCode(t, ctx, "the server's writing", theirs.WasStopped, byServer)
	ours, theirs = Asked(t, ctx, client, server)
	Must(t, theirs.Stop(ctx, fromServer))
	WantCode(t, ctx, "the client's writing", ours.WasStopped, byClient)
}

func WantCode(t testing.TB, ctx context.Context, who string, learn func(context.Context) (uint32, error), want uint32) {
	t.Helper()
	if code, err := learn(ctx); err != nil || code != want {
		t.Errorf("%s was aborted with code %d (%v), want %d", who, code, err, want)
	}
}

// Closes has one end close the session, and the other learn its code and reason.
func Closes(t *testing.T, l Link, byClient bool) {
	ctx := Limited(t)
	closer, other := l.Session(t)
	if !byClient {
		closer, other = other, closer
	}
	Must(t, closer.Close(ctx, WideCode, "so long, ünd tschüss"))
	if code, reason, err := other.Closed(ctx); err != nil || code != WideCode || reason != "so long, ünd tschüss" {
		t.Errorf("the other end was told %d %q (%v)", code, reason, err)
	}
}
