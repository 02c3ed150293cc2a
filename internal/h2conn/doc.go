// Package h2conn is an HTTP/2 connection (RFC 9113), client or server, built on
// the Framer and the hpack codec of golang.org/x/net/http2. It carries header
// fields and bytes; what they mean is its owner's business.
//
//	owner    Request, Headers, Data ...  <- read goroutine <- Framer <- net.Conn
//	owner    DataBlock                   <- read goroutine <- block  <- net.Conn
//	owner -> WriteHeaders, Wake, Reset -> state under one mutex
//	owner    Source.Fill                 <- write goroutine -> Framer -> net.Conn
//
// Usage, server and client:
//
//	c := h2conn.Server(nc, cfg, handler); err := c.Serve()
//	c := h2conn.Client(nc, cfg); st, err := c.OpenStream(ctx, &h2conn.Open{...})
//
// # Goroutines and locks
//
// Two goroutines per connection, of which the second exists only while there is
// something to write and for a quarter to half a second longer: an idle connection
// has one. The read goroutine parses, checks and calls
// ServerHandler and Receiver; it never writes to the socket and never waits.
// The write goroutine owns the header encoder and the socket's sending side; it
// pulls bytes from each Source when the socket and both flow-control windows can
// take them, and never before. Conn.mu guards all state they share and is not
// held during I/O, callbacks or logging.
//
// Callbacks (ServerHandler, Receiver, Source, OnWrite and the Config hooks) must
// not block and must not call Conn.Close. Every other method of Conn and Stream
// may be called from them.
//
// # Bounds
//
// A connection holds at most: Config.WriteBuffer bytes of encoded frames while a
// write is under way, one frame of Config.MaxFrameSize being read, of DATA no more
// than a block (16 KiB) and that only while a frame is under way, one header
// list of Config.MaxHeaderListSize with one incomplete field,
// Config.MaxConcurrentStreams streams and twice as many owners that are not Done,
// Config.MaxQueuedControl replies the peer caused, and a fixed number of closed
// stream ids. Received bytes that a Receiver has not consumed stay below
// Config.ReceiveBuffer plus one connection window. What a peer does without
// progress, and what it makes us reset, is paid from Config.Glitches and
// Config.Resets; beyond them the connection ends with ENHANCE_YOUR_CALM.
//
// # Limitations
//
// Nothing is pushed, and RFC 7540 priorities are ignored. Of RFC 9218 the urgency
// counts; streams of one urgency always share, incremental or not. TLS is the
// caller's business, its cipher suites included.
package h2conn
