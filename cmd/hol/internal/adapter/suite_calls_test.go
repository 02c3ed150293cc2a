package adapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// testCalls makes many calls at once, of responses of up to MaxCall.
func testCalls(t *testing.T, p *pair) {
	const callers, calls = 16, 8
	p.env.Handle = func(request []byte) []byte {
		return pattern(int(binary.BigEndian.Uint32(request)), uint64(len(request)))
	}
	p.connect(8)
	if !p.a.Calls {
		if _, err := p.client.Call(p.ctx, 0, []byte("1234")); !errors.Is(err, ErrUnsupported) || err.Error() == ErrUnsupported.Error() {
			t.Fatalf("Call: %v, want ErrUnsupported with a reason", err)
		}
		return
	}
	call := func(n, requestSize, responseSize int) error {
		request := pattern(requestSize, uint64(n))
		binary.BigEndian.PutUint32(request, uint32(responseSize))
		response, err := p.client.Call(p.ctx, n, request)
		if err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		if want := pattern(responseSize, uint64(requestSize)); string(response) != string(want) {
			return fmt.Errorf("call %d: %d bytes came that are not the %d of the response", n, len(response), responseSize)
		}
		return nil
	}
	var functions []func() error
	for caller := range callers {
		functions = append(functions, func() error {
			for i := range calls {
				n := caller*calls + i
				response := 1 + n*97%5000
				if n%64 == 0 {
					response = MaxCall - n
				}
				if err := call(n, 4+n*13%3000, response); err != nil {
					return err
				}
			}
			return nil
		})
	}
	p.parallel(functions...)
	p.parallel(func() error { return call(callers*calls, MaxCall, 1) })
	p.parallel(func() error { return call(callers*calls+1, 4, MaxCall) })
}

// testCallTooLarge shows that calls beyond the bound fail, and others go on.
func testCallTooLarge(t *testing.T, p *pair) {
	p.env.Handle = func(request []byte) []byte {
		return make([]byte, int(binary.BigEndian.Uint32(request)))
	}
	p.connect(1)
	if !p.a.Calls {
		return // as testCalls says
	}
	if _, err := p.client.Call(p.ctx, 0, make([]byte, MaxCall+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a request of %d bytes: %v, want ErrTooLarge", MaxCall+1, err)
	}
	if _, err := p.client.Call(p.ctx, 1, binary.BigEndian.AppendUint32(nil, MaxCall+1)); err == nil {
		t.Errorf("a response of %d bytes came", MaxCall+1)
	}
	response, err := p.client.Call(p.ctx, 2, binary.BigEndian.AppendUint32(nil, 10))
	if err != nil || len(response) != 10 {
		t.Errorf("the next call: %d bytes, %v", len(response), err)
	}
}

// testManyCalls makes more calls at once than there are streams by default.
func testManyCalls(t *testing.T, p *pair) {
	const calls = 300
	p.connect(8)
	if !p.a.Calls {
		return // as testCalls says
	}
	var functions []func() error
	for n := range calls {
		functions = append(functions, func() error {
			response, err := p.client.Call(p.ctx, n, numbered(n, 100))
			if err != nil {
				return fmt.Errorf("call %d: %w", n, err)
			}
			if got, err := number(response); err != nil || got != n {
				return fmt.Errorf("call %d had the response of %d (%v)", n, got, err)
			}
			return nil
		})
	}
	p.parallel(functions...)
}
