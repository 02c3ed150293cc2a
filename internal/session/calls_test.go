package session

import (
	"bytes"
	"errors"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// wantRead expects a Read that returns exactly data.
func (t *tester) wantRead(r transport.ReceiveStream, data string) {
	t.Helper()
	got := make([]byte, len(data)+1)
	n, err := r.Read(got)
	if err != nil || !bytes.Equal(got[:n], []byte(data)) {
		t.Fatalf("Read = %.100q, %v, want %.100q", got[:n], err, data)
	}
}

// wantReadError expects a Read that returns an error and no byte.
func (t *tester) wantReadError(r transport.ReceiveStream, want error) {
	t.Helper()
	n, err := r.Read(make([]byte, 8))
	if n != 0 || !sameError(err, want) {
		t.Fatalf("Read = %d, %v, want %v", n, err, want)
	}
}

// wantWriteError expects a Write that returns an error.
func (t *tester) wantWriteError(w transport.SendStream, want error) {
	t.Helper()
	n, err := w.Write([]byte("x"))
	if n != 0 || !sameError(err, want) {
		t.Fatalf("Write = %d, %v, want %v", n, err, want)
	}
}

// sameError compares by value what is made anew for each stream.
func sameError(got, want error) bool {
	a, okA := got.(*transport.StreamError)
	b, okB := want.(*transport.StreamError)
	if okA && okB {
		return *a == *b
	}
	return errors.Is(got, want)
}

// TestHarness shows how the scripted peer works.
func TestHarness(t *testing.T) {
	bubble(t, func(t *tester) {
		// The session is a server's. What it would send is asked for by the
		// script, capsule by capsule.
		t.wantIdle("nothing was done")

		// The peer opens stream 0 with "hello".
		t.writeCapsule(wtStream{id: 0, data: "hello"})
		st := t.accept()
		t.wantRead(st, "hello")

		// The answer is one capsule, and the end goes with it.
		t.send(st, "hi")
		t.ok(st.Close())
		t.wantCapsule("answer and end", wtStream{id: 0, fin: true, data: "hi"})

		// A call that waits runs beside the script.
		read := runAsync(t, func() error { _, err := st.Read(make([]byte, 1)); return err })
		read.wantWaiting("nothing more came")
		t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 7, ReliableSize: 5})
		if err := read.result(); !sameError(err, streamError(0, 7, true)) {
			t.Fatal(err)
		}

		// A broken rule ends the session.
		t.writeCapsule(wtStream{id: 0, data: "late"})
		t.wantViolation("data after a reset", transport.ViolationStreamState)
	})
}
