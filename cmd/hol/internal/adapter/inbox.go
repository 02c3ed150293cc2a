package adapter

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
)

// inbox hands over messages of a body that cannot be read with a context, one at
// a time: as long as nobody takes it, no more is read.
type inbox struct {
	messages chan []byte
	closed   chan struct{} // closed by close: nobody takes any more
	once     sync.Once
	ended    chan struct{} // closed by fill, after err was set
	err      error
}

func newInbox() *inbox {
	return &inbox{messages: make(chan []byte), closed: make(chan struct{}), ended: make(chan struct{})}
}

// fill reads messages until the end of the body, and closes it. What nobody has
// taken is dropped once the end that is over is closed.
func (i *inbox) fill(body io.ReadCloser, over <-chan struct{}) {
	f := frameReader{r: body}
	for {
		message, err := f.next()
		if err != nil {
			i.err = err
			break
		}
		select {
		case i.messages <- slices.Clone(message):
		case <-i.closed: // it is dropped
		case <-over: // and it is here
		}
	}
	_ = body.Close()
	close(i.ended)
}

func (i *inbox) take(ctx context.Context) ([]byte, error) {
	select {
	case message := <-i.messages:
		return message, nil
	case <-i.closed:
		return nil, net.ErrClosed
	case <-i.ended:
		return nil, i.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (i *inbox) close() { i.once.Do(func() { close(i.closed) }) }
