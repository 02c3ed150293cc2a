package endpoint

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/towpath-go/towpath/e2e/soak/internal/pattern"
	"github.com/towpath-go/towpath/transport"
)

// A datagram has its session, its serial and then bytes of the pattern.
const datagramHead = 16

// datagrams have serials of their own; this keeps their keys apart from those of
// streams.
const datagramKeys = 1 << 62

func (e *Endpoint) sendDatagrams(n int, size func() int) {
	most := e.session.Info().MaxDatagramSize
	for range n {
		m := min(size(), most)
		if m < datagramHead {
			return // the session has ended
		}
		serial := e.dgSerial.Add(1) // this goroutine alone adds
		p := make([]byte, m)
		binary.LittleEndian.PutUint64(p, e.id)
		binary.LittleEndian.PutUint64(p[8:], serial)
		pattern.NewKey(e.id, datagramKeys|serial, e.server).Fill(p[datagramHead:], 0)
		err := e.session.SendDatagram(p)
		var tooLarge *transport.DatagramTooLargeError
		switch {
		case err == nil:
			e.tally.datagramSent.Add(1)
		case errors.As(err, &tooLarge):
			e.dgSerial.Add(^uint64(0))
			most = tooLarge.Max // the path's MTU went down meanwhile
		default:
			e.dgSerial.Add(^uint64(0))
			e.endOfCall("SendDatagram", err)
			return
		}
	}
}

func (e *Endpoint) receiveDatagrams() {
	for {
		p, err := e.session.ReceiveDatagram(context.Background())
		if err != nil {
			e.endOfCall("ReceiveDatagram", err)
			return
		}
		if len(p) < datagramHead {
			e.violate("datagram", 0, "has %d bytes, fewer than any that was sent", len(p))
			continue
		}
		id, serial := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		if id != e.id {
			e.violate("datagram", 0, "is of session %d", id)
			continue
		}
		if i, wrong := pattern.NewKey(id, datagramKeys|serial, !e.server).Check(p[datagramHead:], 0); wrong {
			e.violate("datagram", int64(i)+datagramHead, "number %d has a wrong byte", serial)
			continue
		}
		if !e.seen.add(serial) {
			e.violate("datagram", 0, "number %d came twice", serial)
		}
		e.tally.datagrams.Add(1)
		e.tally.bytes.Add(int64(len(p)))
	}
}

// A window remembers which of the latest serials were seen. It belongs to one
// goroutine.
type window struct {
	highest uint64
	bits    [16]uint64
}

const windowSize = 16 * 64

// add tells whether n is new; what is older than the window passes for new.
func (w *window) add(n uint64) bool {
	for ; w.highest < n; w.highest++ {
		if n-w.highest > windowSize {
			w.bits = [16]uint64{}
			w.highest = n - 1
		}
		i := (w.highest + 1) % windowSize
		w.bits[i/64] &^= 1 << (i % 64)
	}
	if w.highest-n >= windowSize {
		return true
	}
	i := n % windowSize
	fresh := w.bits[i/64]&(1<<(i%64)) == 0
	w.bits[i/64] |= 1 << (i % 64)
	return fresh
}
