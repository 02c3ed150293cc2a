package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
)

// grpcGo has a stream be a bidirectional RPC whose messages are the writes' bytes.
var grpcGo = Peer{
	Name:    "grpc-go",
	Module:  "google.golang.org/grpc",
	PerConn: 100,
	Lacks:   muxLacks(),
	Note:    "bidirectional RPCs of bytes, a message for each write; pooled are RPCs",
	Listen:  listenGRPC,
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(conf.Clone())),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})), grpc.WithInitialWindowSize(StreamWindow), grpc.WithInitialConnWindowSize(ConnWindow))
		if err != nil {
			return nil, err
		}
		return &grpcConn{cc: cc}, nil
	},
}

// grpcMethod is the name of the RPC.
const grpcMethod = "/towpath.Bench/Stream"

type grpcServer struct {
	s      *grpc.Server
	ln     net.Listener
	served sync.WaitGroup
}

func listenGRPC(c Config) (Server, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	s := &grpcServer{ln: ln}
	s.s = grpc.NewServer(grpc.Creds(credentials.NewTLS(c.TLS)), grpc.ForceServerCodecV2(bytesCodec{}),
		grpc.InitialWindowSize(StreamWindow), grpc.InitialConnWindowSize(ConnWindow),
		grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
			c.Handler.Stream(&grpcStream{st: st})
			return nil
		}))
	s.served.Go(func() { _ = s.s.Serve(ln) }) // ends by Close, which waits for it
	return s, nil
}

func (s *grpcServer) Addr() string { return s.ln.Addr().String() }

// Close waits for handlers too.
func (s *grpcServer) Close() error {
	s.s.Stop()
	s.served.Wait()
	return nil
}

type grpcConn struct {
	noUni
	noDatagrams
	cc *grpc.ClientConn
}

func (c *grpcConn) Open(context.Context) (Stream, error) {
	// The context of the call is the stream's, which ends it by Close.
	ctx, cancel := context.WithCancel(context.Background())
	st, err := c.cc.NewStream(ctx, &grpc.StreamDesc{StreamName: "Stream", ClientStreams: true, ServerStreams: true}, grpcMethod, grpc.WaitForReady(false))
	if err != nil {
		cancel()
		return nil, err
	}
	return &grpcStream{st: st, closeSend: st.CloseSend, cancel: cancel}, nil
}

func (c *grpcConn) OpenPooled(ctx context.Context) error { return pooledStream(ctx, c) }
func (c *grpcConn) Close() error                         { return c.cc.Close() }

// grpcStream is either end of an RPC.
type grpcStream struct {
	st interface {
		SendMsg(any) error
		RecvMsg(any) error
	}
	closeSend func() error // nil on a server, where the handler's return does it
	cancel    func()
	in, out   message
}

// A message is what a write sends, and where a read puts what it receives: in to
// first, and what does not fit into rest.
type message struct {
	data, to []byte
	n        int
	rest     []byte
}

func (s *grpcStream) Read(p []byte) (int, error) {
	for len(s.in.rest) == 0 {
		s.in.to, s.in.n = p, 0
		if err := s.st.RecvMsg(&s.in); err != nil {
			return 0, err
		}
		if s.in.n > 0 {
			return s.in.n, nil
		}
	}
	n := copy(p, s.in.rest)
	s.in.rest = s.in.rest[n:]
	return n, nil
}

func (s *grpcStream) Write(p []byte) (int, error) {
	s.out.data = p
	if err := s.st.SendMsg(&s.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *grpcStream) CloseWrite() error {
	if s.closeSend == nil {
		return nil
	}
	return s.closeSend()
}

func (s *grpcStream) Close() error {
	if s.cancel != nil {
		s.cancel()
	}
	return nil
}

// bytesCodec has messages be bytes as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "bytes" }

// Marshal copies, since a writer may use its slice again at once.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return mem.BufferSlice{mem.Copy(m.data, mem.DefaultBufferPool())}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	if data.Len() <= len(m.to) {
		m.n = data.CopyTo(m.to)
		return nil
	}
	m.rest = data.Materialize()
	return nil
}

var _ io.ReadWriter = (*grpcStream)(nil)
