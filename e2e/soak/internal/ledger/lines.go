package ledger

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// A Writer writes messages or orders, one line each. Its methods may be called
// from any goroutine.
type Writer struct {
	mu  sync.Mutex // serialises what follows: whole lines, one after the other
	w   io.Writer
	err error
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes v as a line. An error stays, and is returned by every later call.
func (w *Writer) Write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		panic("soak: " + err.Error()) // a struct of ours
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		_, w.err = w.w.Write(append(line, '\n'))
	}
	return w.err
}

// Lines calls f with each line of r as a T, until r ends or f says that it is
// enough.
func Lines[T any](r io.Reader, f func(T) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return fmt.Errorf("%w in the line %.100q", err, s.Text())
		}
		if !f(v) {
			return nil
		}
	}
	return s.Err()
}
