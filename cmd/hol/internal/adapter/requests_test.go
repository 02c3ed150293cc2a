package adapter

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"testing"
)

// TestRequestRefusals makes requests that adapters do not make.
func TestRequestRefusals(t *testing.T) {
	for _, a := range requests {
		t.Run(a.Name, func(t *testing.T) {
			p := &pair{t: t, a: a}
			p.connect(1)
			client := p.client.(*requestConn)
			request := func(method, path string, body io.Reader) *http.Request {
				r, err := http.NewRequestWithContext(p.ctx, method, client.prefix+path, body)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			for _, c := range []struct {
				name   string
				r      *http.Request
				status int
			}{
				{"another method", request(http.MethodGet, postChannel, nil), http.StatusMethodNotAllowed},
				{"another path", request(http.MethodPost, "/", nil), http.StatusNotFound},
				{"a call beyond the bound", request(http.MethodPost, postCall, &io.LimitedReader{R: zeros{}, N: MaxCall + 1}), http.StatusRequestEntityTooLarge},
			} {
				response, err := client.conn.RoundTrip(c.r)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				_ = response.Body.Close()
				if response.StatusCode != c.status {
					t.Errorf("%s: %s, want %d", c.name, response.Status, c.status)
				}
			}

			body, w := io.Pipe()
			go func() { // ends when the request does
				_, _ = w.Write(binary.AppendUvarint(nil, MaxMessage+1))
			}()
			response, err := client.conn.RoundTrip(request(http.MethodPost, postChannel, body))
			if err != nil {
				t.Fatal(err)
			}
			c, err := p.server.AcceptChannel(p.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Receive(p.ctx); !errors.Is(err, errFrame) {
				t.Errorf("a message beyond the bound: %v, want errFrame", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, response.Body) // until the handler has returned
			_ = response.Body.Close()
			_ = w.Close()
		})
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestRequestOfTheServer shows what only clients can do.
func TestRequestOfTheServer(t *testing.T) {
	for _, a := range requests {
		t.Run(a.Name, func(t *testing.T) {
			p := &pair{t: t, a: a}
			p.connect(1)
			for name, f := range map[string]func() (Channel, error){
				"the server's OpenBulk":      func() (Channel, error) { return p.server.OpenBulk(p.ctx) },
				"the client's AcceptChannel": func() (Channel, error) { return p.client.AcceptChannel(p.ctx) },
				"the client's AcceptBulk":    func() (Channel, error) { return p.client.AcceptBulk(p.ctx) },
			} {
				if _, err := f(); !errors.Is(err, ErrUnsupported) {
					t.Errorf("%s: %v, want ErrUnsupported", name, err)
				}
			}
			if _, err := p.server.Call(p.ctx, 0, []byte("x")); !errors.Is(err, ErrUnsupported) {
				t.Errorf("the server's Call: %v, want ErrUnsupported", err)
			}
		})
	}
}
