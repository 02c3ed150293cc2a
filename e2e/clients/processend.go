package clients

import "context"

// A ProcessEnd is an end in a child process.
type ProcessEnd struct {
	Process *Process

	do       func(ctx context.Context, o Order) (Answer, error)
	number   int
	selected string
}

// End makes an end of the answer to an order that opened or accepted a session.
func (p *Process) End(a Answer) End { return NewProcessEnd(p, p.Do, a) }

// NewProcessEnd is [Process.End] for a process whose orders need more said.
func NewProcessEnd(p *Process, do func(ctx context.Context, o Order) (Answer, error), a Answer) ProcessEnd {
	return ProcessEnd{p, do, a.Result.Session, a.Result.Protocol}
}

// Do has an order carried out by the end.
func (e ProcessEnd) Do(ctx context.Context, o Order) (Answer, error) {
	o.Session = &e.number
	return e.do(ctx, o)
}

func (e ProcessEnd) stream(ctx context.Context, op string, uni bool) (Stream, error) {
	a, err := e.Do(ctx, Order{Op: op, Uni: uni})
	return processStream{e.do, a.Result.Stream}, err
}

func (e ProcessEnd) Open(ctx context.Context, uni bool) (Stream, error) {
	return e.stream(ctx, "open", uni)
}

func (e ProcessEnd) Accept(ctx context.Context, uni bool) (Stream, error) {
	return e.stream(ctx, "accept", uni)
}

func (e ProcessEnd) SendDatagram(ctx context.Context, p []byte) error {
	_, err := e.Do(ctx, Order{Op: "sendDatagram", Data: p})
	return err
}

func (e ProcessEnd) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	a, err := e.Do(ctx, Order{Op: "receiveDatagram"})
	return a.Result.Data, err
}

func (e ProcessEnd) Protocol() string { return e.selected }

func (e ProcessEnd) Close(ctx context.Context, code uint32, reason string) error {
	_, err := e.Do(ctx, Order{Op: "close", Code: code, Reason: reason})
	return err
}

func (e ProcessEnd) Closed(ctx context.Context) (uint32, string, error) {
	a, err := e.Do(ctx, Order{Op: "closed"})
	code, err := a.Code(err)
	return code, a.Result.Reason, err
}

type processStream struct {
	order  func(ctx context.Context, o Order) (Answer, error)
	number int
}

func (s processStream) do(ctx context.Context, o Order) (Answer, error) {
	o.Stream = &s.number
	return s.order(ctx, o)
}

func (s processStream) Write(ctx context.Context, p []byte) error {
	_, err := s.do(ctx, Order{Op: "write", Data: p})
	return err
}

func (s processStream) Finish(ctx context.Context) error {
	_, err := s.do(ctx, Order{Op: "finish"})
	return err
}

func (s processStream) Reset(ctx context.Context, code uint32) error {
	_, err := s.do(ctx, Order{Op: "reset", Code: code})
	return err
}

func (s processStream) Stop(ctx context.Context, code uint32) error {
	_, err := s.do(ctx, Order{Op: "stop", Code: code})
	return err
}

func (s processStream) WasStopped(ctx context.Context) (uint32, error) {
	a, err := s.do(ctx, Order{Op: "wasStopped"})
	return a.Code(err)
}

func (s processStream) WasReset(ctx context.Context) (uint32, error) {
	a, err := s.do(ctx, Order{Op: "wasReset"})
	return a.Code(err)
}

func (s processStream) Read(ctx context.Context, n int) ([]byte, error) {
	a, err := s.do(ctx, Order{Op: "read", N: n})
	return a.Result.Data, err
}

func (s processStream) ReadAll(ctx context.Context) ([]byte, error) {
	a, err := s.do(ctx, Order{Op: "readAll"})
	return a.Result.Data, err
}
