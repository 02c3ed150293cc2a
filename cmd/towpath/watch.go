package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/towpath-go/towpath/metrics"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/qlog"
	"github.com/towpath-go/towpath/transport"
)

// serveMetrics counts what a server does, and serves the numbers on ln until the
// function it returns is called.
func serveMetrics(srv *negotiate.Server, ln net.Listener) (stop func()) {
	recorder := metrics.NewRecorder()
	srv.Monitor = recorder
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(recorder))
	hs := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	if srv.Logger != nil {
		hs.ErrorLog = slog.NewLogLogger(srv.Logger.Handler(), slog.LevelWarn)
	}
	done := make(chan struct{})
	go func() { // ends with Close; waited for by stop
		defer close(done)
		_ = hs.Serve(ln)
	}()
	return func() {
		_ = hs.Close()
		<-done
	}
}

// printMetrics says where the metrics are, and warns if that is not this machine
// alone: they tell how busy a server is and from which limits it suffers.
func printMetrics(std streams, addr net.Addr) {
	fmt.Fprintf(std.out, "metrics http://%s/metrics\n", reachable(addr))
	if a, ok := addr.(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		fmt.Fprintf(std.err, "towpath: warning: whoever reaches %s can read the metrics; --metrics 127.0.0.1:%d keeps them on this machine\n", addr, a.Port)
	}
}

// qlogTime bounds how long the process waits at its end for events that are not
// written yet.
const qlogTime = time.Second

// A qlogSink knows when everything has been written.
type qlogSink struct {
	dir *qlog.Dir

	mu      sync.Mutex // guards the following
	open    int
	written chan struct{} // gets a value whenever a file was closed
}

// openQlog makes the sink of --qlog; dir is empty if there is none.
func openQlog(dir string, std streams) (*qlogSink, error) {
	if dir == "" {
		return nil, nil
	}
	d, err := qlog.NewDir(dir)
	if err != nil {
		return nil, fmt.Errorf("--qlog: no files can be made in %s: %w", dir, err)
	}
	d.Logger = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return &qlogSink{dir: d, written: make(chan struct{}, 1)}, nil
}

// OpenQlog implements transport.QlogSink.
func (s *qlogSink) OpenQlog(info transport.Info, side transport.Side) io.WriteCloser {
	w := s.dir.OpenQlog(info, side)
	if w == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return &qlogFile{w, s}
}

// wait waits until all that was opened is written.
func (s *qlogSink) wait(most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	for {
		s.mu.Lock()
		open := s.open
		s.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-s.written:
		case <-t.C:
			return
		}
	}
}

type qlogFile struct {
	io.WriteCloser
	sink *qlogSink
}

func (f *qlogFile) Close() error {
	err := f.WriteCloser.Close()
	f.sink.mu.Lock()
	f.sink.open--
	f.sink.mu.Unlock()
	tell(f.sink.written)
	return err
}
