package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// patience bounds every scenario.
const patience = 20 * time.Second

// A link makes sessions of one row.
type link interface {
	// session opens a session whose client offers the protocols, and returns
	// both ends. The server speaks the protocol "second" only.
	session(t *testing.T, offer ...string) (client, server end)
}

// An end is one end of a session, whoever's it is.
type end interface {
	open(ctx context.Context, uni bool) (stream, error)
	// accept waits for the next stream that the other end opened.
	accept(ctx context.Context, uni bool) (stream, error)
	sendDatagram(ctx context.Context, p []byte) error
	receiveDatagram(ctx context.Context) ([]byte, error)
	// protocol is the application protocol chosen.
	protocol() string
	close(ctx context.Context, code uint32, reason string) error
	// closed waits until the other end has closed the session, and returns
	// what it said.
	closed(ctx context.Context) (code uint32, reason string, err error)
}

// A stream is one end of a stream. Of a unidirectional one only the methods of
// its direction work.
type stream interface {
	write(ctx context.Context, p []byte) error
	finish(ctx context.Context) error
	reset(ctx context.Context, code uint32) error
	// wasStopped writes until the other end asks to stop, and returns its code.
	wasStopped(ctx context.Context) (code uint32, err error)

	// read returns as many bytes as p of the other end's write has.
	read(ctx context.Context, n int) ([]byte, error)
	// readAll returns everything up to the clean end.
	readAll(ctx context.Context) ([]byte, error)
	stop(ctx context.Context, code uint32) error
	// wasReset reads until the other end resets, and returns its code.
	wasReset(ctx context.Context) (code uint32, err error)
}

// scenarios are what the columns mean.
var scenarios = [columnCount]func(t *testing.T, l link){
	bidi: func(t *testing.T, l link) {
		ctx := limited(t)
		client, server := l.session(t)
		must(t, echo(ctx, client, server, false, "asked on a bidirectional stream"))
	},
	uni: func(t *testing.T, l link) {
		ctx := limited(t)
		client, server := l.session(t)
		must(t, oneWay(ctx, client, server, "told on a unidirectional stream"))
	},
	serverStreams: func(t *testing.T, l link) {
		ctx := limited(t)
		client, server := l.session(t)
		must(t, echo(ctx, server, client, false, "the server asks"))
		must(t, oneWay(ctx, server, client, "the server tells"))
	},
	datagrams: func(t *testing.T, l link) {
		ctx := limited(t)
		client, server := l.session(t)
		must(t, datagram(ctx, client, server, "a datagram of the client"))
		must(t, datagram(ctx, server, client, "a datagram of the server"))
	},
	mebibyte: func(t *testing.T, l link) {
		ctx := limited(t)
		client, server := l.session(t)
		must(t, echo(ctx, client, server, true, string(pattern(1<<20))))
	},
	resetCode:     func(t *testing.T, l link) { resets(t, l, wideCode, wideCode-1) },
	stopCode:      func(t *testing.T, l link) { stops(t, l, wideCode, wideCode-1) },
	closeByClient: func(t *testing.T, l link) { closes(t, l, true) },
	closeByServer: func(t *testing.T, l link) { closes(t, l, false) },
	subprotocol: func(t *testing.T, l link) {
		client, server := l.session(t, "first", "second")
		if c, s := client.protocol(), server.protocol(); c != "second" || s != "second" {
			t.Errorf("the client has the protocol %q, the server %q", c, s)
		}
	},
	severalSessions: func(t *testing.T, l link) {
		ctx := limited(t)
		var clients, servers [3]end
		for i := range clients {
			clients[i], servers[i] = l.session(t)
		}
		both := func(from int) {
			var all sync.WaitGroup
			errs := make([]error, len(clients))
			for i := from; i < len(clients); i++ {
				all.Go(func() {
					errs[i] = echo(ctx, clients[i], servers[i], false, fmt.Sprintf("asked in session %d", i))
				})
			}
			all.Wait()
			must(t, errors.Join(errs...))
		}
		both(0)
		must(t, clients[0].close(ctx, 1, ""))
		if _, _, err := servers[0].closed(ctx); err != nil {
			t.Error(err)
		}
		both(1) // the others live on
	},
}

// wideCode is an application error code that needs all 32 bits.
const wideCode = 4_000_000_001

// limited returns a context that bounds a scenario.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pattern returns n bytes that repeat with a prime period, so that no frame or
// window hides a piece that is missing.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// echo asks on a bidirectional stream that one end opens, and the other
// answers: with other bytes, after the end of the question, or at the same
// time.
func echo(ctx context.Context, asks, answers end, atOnce bool, question string) error {
	answer := "answer to " + question
	st, err := asks.open(ctx, false)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	asked := make(chan error, 1)
	ask := func() { asked <- errors.Join(st.write(ctx, []byte(question)), st.finish(ctx)) }
	answered := make(chan error, 1)
	go func() { // ends with ctx at the latest
		answered <- func() error {
			st, err := answers.accept(ctx, false)
			if err != nil {
				return fmt.Errorf("accepting: %w", err)
			}
			sent := make(chan error, 1)
			send := func() { sent <- errors.Join(st.write(ctx, []byte(answer)), st.finish(ctx)) }
			if atOnce {
				go send() // ends with ctx at the latest
			}
			if err := expect(st, ctx, question); err != nil {
				return fmt.Errorf("the question: %w", err)
			}
			if !atOnce {
				send()
			}
			return <-sent
		}()
	}()
	go ask() // ends with ctx at the latest
	err = expect(st, ctx, answer)
	if err != nil {
		err = fmt.Errorf("the answer: %w", err)
	}
	return errors.Join(err, <-asked, <-answered)
}

// oneWay sends a message on a unidirectional stream.
func oneWay(ctx context.Context, from, to end, message string) error {
	out, err := from.open(ctx, true)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if err := errors.Join(out.write(ctx, []byte(message)), out.finish(ctx)); err != nil {
		return err
	}
	in, err := to.accept(ctx, true)
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	return expect(in, ctx, message)
}

func expect(st stream, ctx context.Context, want string) error {
	got, err := st.readAll(ctx)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", len(got), len(want), err)
	}
	if string(got) != want {
		return fmt.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(want))
	}
	return nil
}

// datagram sends a datagram until one arrives: a network may lose some.
func datagram(ctx context.Context, from, to end, message string) error {
	type received struct {
		p   []byte
		err error
	}
	arrived := make(chan received, 1)
	go func() { // ends with ctx at the latest
		p, err := to.receiveDatagram(ctx)
		arrived <- received{p, err}
	}()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		if err := from.sendDatagram(ctx, []byte(message)); err != nil {
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

// asked opens a bidirectional stream and makes the other end know it.
func asked(t *testing.T, ctx context.Context, asks, answers end) (ours, theirs stream) {
	t.Helper()
	ours, err := asks.open(ctx, false)
	must(t, err)
	must(t, ours.write(ctx, []byte("first")))
	theirs, err = answers.accept(ctx, false)
	must(t, err)
	p, err := theirs.read(ctx, len("first"))
	must(t, err)
	if string(p) != "first" {
		t.Fatalf("%q arrived", p)
	}
	return ours, theirs
}

// resets has each end reset a stream, and the other learn its code.
func resets(t *testing.T, l link, fromClient, fromServer uint32) {
	resetsLearnt(t, l, fromClient, fromServer, fromClient, fromServer)
}

// resetsLearnt is resets where an end learns another code than was sent.
func resetsLearnt(t *testing.T, l link, fromClient, fromServer, byServer, byClient uint32) {
	ctx := limited(t)
	client, server := l.session(t)
	ours, theirs := asked(t, ctx, client, server)
	must(t, ours.reset(ctx, fromClient))
	wantCode(t, ctx, "the server's reading", theirs.wasReset, byServer)
	ours, theirs = asked(t, ctx, client, server)
	must(t, theirs.reset(ctx, fromServer))
	wantCode(t, ctx, "the client's reading", ours.wasReset, byClient)
}

// stops has each end ask to stop, and the other learn its code.
func stops(t *testing.T, l link, fromClient, fromServer uint32) {
	stopsLearnt(t, l, fromClient, fromServer, fromClient, fromServer)
}

// stopsLearnt is stops where an end learns another code than was sent.
func stopsLearnt(t *testing.T, l link, fromClient, fromServer, byServer, byClient uint32) {
	ctx := limited(t)
	client, server := l.session(t)
	ours, theirs := asked(t, ctx, client, server)
	must(t, ours.stop(ctx, fromClient))
	wantCode(t, ctx, "the server's writing", theirs.wasStopped, byServer)
	ours, theirs = asked(t, ctx, client, server)
	must(t, theirs.stop(ctx, fromServer))
	wantCode(t, ctx, "the client's writing", ours.wasStopped, byClient)
}

func wantCode(t *testing.T, ctx context.Context, who string, learn func(context.Context) (uint32, error), want uint32) {
	t.Helper()
	if code, err := learn(ctx); err != nil || code != want {
		t.Errorf("%s was aborted with code %d (%v), want %d", who, code, err, want)
	}
}

// closes has one end close the session, and the other learn its code and reason.
func closes(t *testing.T, l link, byClient bool) {
	ctx := limited(t)
	closer, other := l.session(t)
	if !byClient {
		closer, other = other, closer
	}
	must(t, closer.close(ctx, wideCode, "so long, ünd tschüss"))
	if code, reason, err := other.closed(ctx); err != nil || code != wideCode || reason != "so long, ünd tschüss" {
		t.Errorf("the other end was told %d %q (%v)", code, reason, err)
	}
}
