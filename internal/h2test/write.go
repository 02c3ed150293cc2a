package h2test

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func (p *Peer) write(f func(fr *http2.Framer) error) {
	p.t.Helper()
	p.wmu.Lock()
	err := f(p.fr)
	allowed := p.AllowWriteErrors
	p.wmu.Unlock()
	if err != nil && !allowed {
		p.t.Errorf("peer cannot write: %v", err)
	}
}

// WriteBytes writes raw bytes.
func (p *Peer) WriteBytes(b []byte) {
	p.t.Helper()
	p.write(func(*http2.Framer) error { _, err := p.nc.Write(b); return err })
}

// WriteRawFrame writes any frame.
func (p *Peer) WriteRawFrame(t http2.FrameType, flags http2.Flags, id uint32, payload []byte) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteRawFrame(t, flags, id, payload) })
}

// WriteSettings writes SETTINGS. A HEADER_TABLE_SIZE, if acknowledged, binds the
// peer's decoder.
func (p *Peer) WriteSettings(s ...http2.Setting) {
	p.t.Helper()
	p.mu.Lock()
	for _, v := range s {
		if v.ID == http2.SettingHeaderTableSize {
			p.tables = append(p.tables, v.Val)
		}
	}
	p.mu.Unlock()
	p.write(func(fr *http2.Framer) error { return fr.WriteSettings(s...) })
}

// WriteSettingsAck acknowledges SETTINGS.
func (p *Peer) WriteSettingsAck() {
	p.t.Helper()
	p.write((*http2.Framer).WriteSettingsAck)
}

// Encode returns the header block of names and values in turn, as the peer's
// encoder makes it: it must be sent, for it changes the dynamic table.
func (p *Peer) Encode(fields ...string) []byte {
	p.t.Helper()
	if len(fields)%2 != 0 {
		p.t.Fatal("BUG: fields are names and values in turn")
	}
	p.wmu.Lock()
	defer p.wmu.Unlock()
	return p.encodeLocked(fields)
}

func (p *Peer) encodeLocked(fields []string) []byte {
	p.encBuf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		if err := p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			p.t.Errorf("BUG: hpack: %v", err)
		}
	}
	return append([]byte(nil), p.encBuf.Bytes()...)
}

// WriteHeaders writes names and values in turn as one HEADERS frame.
func (p *Peer) WriteHeaders(id uint32, end bool, fields ...string) {
	p.t.Helper()
	if len(fields)%2 != 0 {
		p.t.Fatal("BUG: fields are names and values in turn")
	}
	p.write(func(fr *http2.Framer) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, EndStream: end, EndHeaders: true, BlockFragment: p.encodeLocked(fields)})
	})
}

// WriteHeadersFrame writes one HEADERS frame as given.
func (p *Peer) WriteHeadersFrame(h http2.HeadersFrameParam) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteHeaders(h) })
}

// WriteContinuation writes CONTINUATION.
func (p *Peer) WriteContinuation(id uint32, end bool, fragment []byte) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteContinuation(id, end, fragment) })
}

// WriteData writes DATA.
func (p *Peer) WriteData(id uint32, end bool, data string) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteData(id, end, []byte(data)) })
}

// WriteDataPadded writes DATA with n bytes of padding after its length byte.
func (p *Peer) WriteDataPadded(id uint32, end bool, data string, n int) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error {
		return fr.WriteDataPadded(id, end, []byte(data), make([]byte, n))
	})
}

// WriteRST writes RST_STREAM.
func (p *Peer) WriteRST(id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteRSTStream(id, code) })
}

// WritePing writes PING.
func (p *Peer) WritePing(ack bool, data [8]byte) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WritePing(ack, data) })
}

// WriteGoAway writes GOAWAY.
func (p *Peer) WriteGoAway(last uint32, code http2.ErrCode) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteGoAway(last, code, nil) })
}

// WriteWindowUpdate writes WINDOW_UPDATE.
func (p *Peer) WriteWindowUpdate(id, increment uint32) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(id, increment) })
}

// WritePriority writes PRIORITY.
func (p *Peer) WritePriority(id uint32, prio http2.PriorityParam) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WritePriority(id, prio) })
}

// WritePriorityUpdate writes PRIORITY_UPDATE for the stream id.
func (p *Peer) WritePriorityUpdate(id uint32, value string) {
	p.t.Helper()
	p.write(func(fr *http2.Framer) error { return fr.WritePriorityUpdate(id, value) })
}
