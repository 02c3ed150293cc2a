package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// TestUnsent shows that CloseWithError says what of finished streams did not
// go out, also where that is not a buffer.
func TestUnsent(t *testing.T) {
	wantUnsent := func(t *tester, closing async[error], bytes uint64) {
		t.Helper()
		err := closing.result()
		ue, ok := errors.AsType[*transport.UnsentError](err)
		if !ok || ue.Bytes != bytes {
			t.Fatalf("CloseWithError = %v, want %d bytes unsent", err, bytes)
		}
	}
	t.Run("an end that did not go out, with no byte before it", func(t *testing.T) {
		bubble(t, func(t *tester) {
			w := t.openUni()
			t.send(w, "data")
			t.wantCapsule("data", wtStream{id: 3, data: "data"})
			t.ok(w.Close()) // and no window for it
			closing := runAsync(t, func() error { return t.s.CloseWithError(0, "") })
			wantUnsent(t, closing, 0)
		})
	})
	t.Run("the rest of a capsule that was begun", func(t *testing.T) {
		bubble(t, func(t *tester) {
			w := t.openUni()
			t.send(w, strings.Repeat("x", 30))
			t.ok(w.Close())
			t.dst = t.dst[:16] // a header of 6 bytes, 10 of data
			if n := t.fill(); n != 16 {
				t.Fatalf("Fill gave %d bytes", n)
			}
			closing := runAsync(t, func() error { return t.s.CloseWithError(0, "") })
			wantUnsent(t, closing, 20)
		})
	})
	t.Run("the same of a stream that was not finished is not said", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.send(t.openUni(), strings.Repeat("x", 30))
			t.dst = t.dst[:16]
			t.fill()
			closing := runAsync(t, func() error { return t.s.CloseWithError(0, "") })
			t.ok(closing.result())
		})
	})
	t.Run("nothing is said of a capsule whose rest goes out", func(t *testing.T) {
		bubble(t, func(t *tester) {
			w := t.openUni()
			t.send(w, strings.Repeat("x", 30))
			t.ok(w.Close())
			t.dst = t.dst[:16]
			t.fill()
			closing := runAsync(t, func() error { return t.s.CloseWithError(0, "") })
			t.wantCapsule("the stream", wtStream{id: 3, fin: true, data: strings.Repeat("x", 30)})
			for t.hear() != nil {
			}
			t.s.End()
			t.ok(closing.result())
		})
	})
}
