// Package capsule is the codec of WebTransport's capsules: it turns them into
// bytes and bytes into calls. It has no goroutine, no lock and no I/O, and
// imports the standard library only.
//
// The pinned revisions are draft-ietf-webtrans-http2-15 and
// draft-ietf-webtrans-http3-16. Comments in this module name a section of them
// by its heading, since numbers move between revisions. DATAGRAM and the
// capsule layout itself are RFC 9297, integers are RFC 9000 section 16.
//
//	Capsule = Type (varint), Length (varint), Value (Length bytes)
//
//	Append*, Capsule.Append ──► bytes of the CONNECT stream ──► Decoder.Feed ──► Handler
//
// Encoding appends to the caller's slice and allocates nothing if it has room:
//
//	b = capsule.MaxData{MaximumData: 1 << 20}.Append(b)
//	b = capsule.AppendStreamHeader(b, fin, capsule.Draft15, id, uint64(len(data)))
//	b = append(b, data...)
//
// Decoding is a push parser. A [Decoder] takes the bytes in pieces of any size
// and calls its [Handler] while they pass:
//
//	var d capsule.Decoder
//	err := d.Feed(p, handler)
//
// # Bounds
//
// Stream data and datagrams are handed on in the pieces in which they arrive
// and never gathered, so a Decoder's memory does not depend on any Length. It
// keeps at most the value of one fixed-layout capsule, whose longest is
// WT_CLOSE_SESSION with 1,028 bytes. A Length that no value of the type can
// have is refused with the header, before any byte of the value is read.
// Unknown types of any Length, up to 2^62-1, are skipped as they pass.
//
// # Limitations
//
// The codec checks layout, not meaning: values above a limit, codes above 32
// bits, wrong stream states and text that is not UTF-8 are delivered, and are
// the session's to judge. PADDING may hold any bytes, as the draft permits.
// A Decoder belongs to one goroutine at a time.
package capsule
