package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// allow gives us the credit that the traffic needs, where the peer's settings do
// not.
func (r *replay) allow() {
	if r.peer.flow && r.peer.setting(settingInitialMaxData) == 0 {
		r.c.capsules(r.str, capsule.MaxData{MaximumData: 4000},
			capsule.MaxStreams{MaximumStreams: 20}, capsule.MaxStreams{Uni: true, MaximumStreams: 20})
	}
}

// wantHeader reads what a stream of ours begins with.
func (r *replay) wantHeader(str io.Reader, typ uint64) {
	r.Helper()
	want := r.header(typ)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(str, got); err != nil || !bytes.Equal(got, want) {
		r.Fatalf("a stream begins with %x, %v, want %x", got, err, want)
	}
}

// ok ends the test on an error.
func (r *replay) ok(err error, what string) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// wantAll reads to the end.
func (r *replay) wantAll(str io.Reader, want string) {
	r.Helper()
	if got, err := io.ReadAll(str); err != nil || string(got) != want {
		r.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

// streams uses both kinds of streams, opened by either side.
func (r *replay) streams() {
	ctx := context.Background()
	in := r.c.request(r.header(bidiStreamType), []byte("ping"))
	in.Close()
	x, err := r.s.AcceptStream(ctx)
	r.ok(err, "AcceptStream")
	r.wantAll(x, "ping")
	x.Write([]byte("pong"))
	r.ok(x.Close(), "Close")
	r.wantAll(in, "pong")

	r.c.uniStream(r.header(uniStreamType), []byte("one way")).Close()
	u, err := r.s.AcceptUniStream(ctx)
	r.ok(err, "AcceptUniStream")
	r.wantAll(u, "one way")

	y, err := r.s.OpenStream(ctx)
	r.ok(err, "OpenStream")
	y.Write([]byte("ours"))
	r.ok(y.Close(), "Close")
	out, err := r.c.AcceptStream(ctx)
	r.ok(err, "the peer's AcceptStream")
	r.wantHeader(out, bidiStreamType)
	r.wantAll(out, "ours")
	out.Write([]byte("theirs"))
	out.Close()
	r.wantAll(y, "theirs")

	v, err := r.s.OpenUniStream(ctx)
	r.ok(err, "OpenUniStream")
	v.Write([]byte("out"))
	r.ok(v.Close(), "Close")
	got := r.c.acceptUni()
	r.wantHeader(got, uniStreamType)
	r.wantAll(got, "out")
}

// datagrams sends one each way.
func (r *replay) datagrams() {
	ctx := context.Background()
	r.ok(r.c.SendDatagram(append(varints(r.id/4), "to us"...)), "the peer's SendDatagram")
	p, err := r.s.ReceiveDatagram(ctx)
	if err != nil || string(p) != "to us" {
		r.Fatalf("ReceiveDatagram: %q, %v", p, err)
	}
	r.ok(r.s.SendDatagram([]byte("to them")), "SendDatagram")
	p, err = r.c.ReceiveDatagram(ctx)
	if want := append(varints(r.id/4), "to them"...); err != nil || !bytes.Equal(p, want) {
		r.Fatalf("the peer's ReceiveDatagram: %q, %v", p, err)
	}
}

// codeVectors are application codes and the HTTP/3 codes that stand for them
// (draft-ietf-webtrans-http3 "Resetting Data Streams"). Draft 02 has those up to
// 255 only; beyond, its peers see a reset without a code of the application's.
var codeVectors = []struct {
	code transport.StreamErrorCode
	http quic.StreamErrorCode
}{
	{0, 0x52e4a40fa8db},
	{77, 0x52e4a40fa92a},
	{255, 0x52e4a40fa9e2},
	{256, 0x52e4a40fa9e3},
	{0xffffffff, 0x52e5ac983162},
}

// codes resets and stops streams from either side.
func (r *replay) codes() {
	ctx := context.Background()
	for _, v := range codeVectors {
		y, err := r.s.OpenUniStream(ctx)
		r.ok(err, "OpenUniStream")
		y.Write([]byte("r"))
		got := r.c.acceptUni()
		r.wantHeader(got, uniStreamType)
		y.CancelWrite(v.code)
		r.c.wantReset(got, uint64(v.http))

		in := r.c.uniStream(r.header(uniStreamType), []byte("s"))
		u, err := r.s.AcceptUniStream(ctx)
		r.ok(err, "AcceptUniStream")
		u.CancelRead(v.code)
		r.c.wantStopped(in, uint64(v.http))

		in = r.c.uniStream(r.header(uniStreamType), []byte("t"))
		u, err = r.s.AcceptUniStream(ctx)
		r.ok(err, "AcceptUniStream")
		in.CancelWrite(v.http)
		_, err = io.ReadAll(u)
		r.wantCode(err, v.code)

		y, err = r.s.OpenUniStream(ctx)
		r.ok(err, "OpenUniStream")
		y.Write([]byte("v"))
		got = r.c.acceptUni()
		got.CancelRead(v.http)
		for err = nil; err == nil; {
			time.Sleep(linkLatency)
			_, err = y.Write([]byte("w"))
		}
		r.wantCode(err, v.code)
	}
}

// wantCode expects the peer's reset or stop request.
func (r *replay) wantCode(err error, code transport.StreamErrorCode) {
	r.Helper()
	if e, ok := errors.AsType[*transport.StreamError](err); !ok || e.Code != code || !e.Remote || e.NoCode {
		r.Fatalf("the stream ended with %v, want code %d of the peer", err, code)
	}
}

// traffic is everything but flow control and the ends.
func (r *replay) traffic() {
	r.allow()
	r.streams()
	r.datagrams()
	r.codes()
}

// closeOurs closes the session here: the capsule and the end, nothing else.
func (r *replay) closeOurs() {
	closed := make(chan error, 1)
	go func() { closed <- r.s.CloseWithError(4321, "server bye") }()
	r.awaitCapsule(capsule.CloseSession{ErrorCode: 4321, Message: "server bye"})
	r.c.wantEnd(r.str)
	if err := context.Cause(r.str.Context()); err != nil {
		r.Errorf("the CONNECT stream was stopped: %v", err)
	}
	r.str.Close()
	r.ok(<-closed, "CloseWithError")
	r.c.wantOpen()
}

// closeTheirs closes the session at the peer.
func (r *replay) closeTheirs() {
	r.c.capsules(r.str, capsule.CloseSession{ErrorCode: 1234, Message: "client bye"})
	r.str.Close()
	wantSessionEnd(r, r.s, transport.SessionError{Code: 1234, Reason: "client bye", Remote: true})
}

// flow checks that flow control is on or off as the draft in use has it.
func (r *replay) flow() {
	if r.peer.flow {
		r.limited()
	} else {
		r.unlimited()
	}
	if got := r.another(); got != r.peer.flow {
		r.Errorf("a second session came about: %v, want %v", got, r.peer.flow)
	}
	if r.peer.name == "draft 12" && r.peer.setting(settingDraft07) == 2 || r.peer.setting(settingMaxSessions) == 2 {
		if r.another() {
			r.Error("there are more sessions than the server allows")
		}
	}
}

// limited: we keep to the peer's limits until capsules raise them.
func (r *replay) limited() {
	ctx := context.Background()
	limit := r.peer.setting(settingInitialMaxData)
	if limit > 1<<20 {
		return // more than a test can use up
	}
	if r.peer.setting(settingInitialMaxStreamsUni) == 0 {
		if _, err := r.s.OpenUniStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			r.Fatalf("OpenUniStream without credit: %v", err)
		}
		r.awaitCapsule(capsule.StreamsBlocked{Uni: true})
		r.c.capsules(r.str, capsule.MaxStreams{Uni: true, MaximumStreams: 1})
	}
	u, err := r.s.OpenUniStream(ctx)
	r.ok(err, "OpenUniStream")
	written := make(chan error, 1)
	go func() {
		_, err := u.Write(bytes.Repeat([]byte("x"), int(limit)+1))
		u.Close()
		written <- err
	}()
	r.awaitCapsule(capsule.DataBlocked{MaximumData: limit})
	r.c.capsules(r.str, capsule.MaxData{MaximumData: limit + 1})
	r.ok(<-written, "Write")
	got := r.c.acceptUni()
	r.wantHeader(got, uniStreamType)
	if b, err := io.ReadAll(got); err != nil || len(b) != int(limit)+1 {
		r.Fatalf("read %d bytes, %v", len(b), err)
	}
}

// unlimited: capsules mean nothing, and neither do limits in SETTINGS.
func (r *replay) unlimited() {
	r.c.capsules(r.str, capsule.MaxData{MaximumData: 1}, capsule.MaxData{MaximumData: 1}, capsule.MaxStreams{Uni: true, MaximumStreams: 1}, capsule.MaxData{})
	for range 3 {
		u, err := r.s.OpenUniStream(context.Background())
		r.ok(err, "OpenUniStream")
		_, err = u.Write(make([]byte, 10_000))
		r.ok(err, "Write")
		r.ok(u.Close(), "Close")
		got := r.c.acceptUni()
		r.wantHeader(got, uniStreamType)
		if b, err := io.ReadAll(got); err != nil || len(b) != 10_000 {
			r.Fatalf("read %d bytes, %v", len(b), err)
		}
	}
}
