package netns

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
)

// A Func is a function that a test runs inside a host.
type Func[In, Out any] struct{ name string }

// registered holds the functions by name. It is written by package
// initialisation only.
var registered = map[string]func(ctx context.Context, arg json.RawMessage) (any, error){}

// Register makes f callable inside hosts. It is called to initialise a package
// variable, so that the test and the hosts, which are the same binary, agree.
// In and Out must survive JSON. What f starts may go on after it returned,
// until the host ends.
func Register[In, Out any](name string, f func(ctx context.Context, in In) (Out, error)) Func[In, Out] {
	if registered[name] != nil {
		panic("netns: two functions named " + name)
	}
	registered[name] = func(ctx context.Context, arg json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(arg, &in); err != nil {
			return nil, fmt.Errorf("netns: argument of %s: %w", name, err)
		}
		return f(ctx, in)
	}
	return Func[In, Out]{name}
}

// Call runs the function on h and waits for its result. An error ends the test.
func (f Func[In, Out]) Call(t testing.TB, h *Host, in In) Out {
	t.Helper()
	out, err := f.Try(h, in)
	if err != nil {
		t.Fatalf("%s on %s: %v", f.name, h.Name, err)
	}
	return out
}

// Try is Call for a test that expects an error, or that calls from another
// goroutine. Of the function's error only the text arrives.
func (f Func[In, Out]) Try(h *Host, in In) (Out, error) {
	var out Out
	arg, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	raw, err := h.call(f.name, arg)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(raw, &out)
}

// request and response are the lines on the two pipes between a test and a host.
type request struct {
	ID   uint64
	Name string
	Arg  json.RawMessage
}

type response struct {
	ID     uint64
	Result json.RawMessage
	Err    string // "" means Result holds
}
