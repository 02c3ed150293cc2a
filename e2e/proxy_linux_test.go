package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/towpath-go/towpath/e2e/netns"
)

// proxyArgs describe a proxy: a small one of the tests' own, which runs on a
// lab's router and reaches what the router's forward hook refuses.
type proxyArgs struct {
	Kind           string // "http" or "socks5"
	Addr           string
	User, Password string // required of clients if User is not empty
}

// proxyLog holds what clients asked of this host's proxies, and the answers.
var proxyLog struct {
	mu    sync.Mutex
	lines []string
}

func logProxy(format string, args ...any) {
	proxyLog.mu.Lock()
	defer proxyLog.mu.Unlock()
	proxyLog.lines = append(proxyLog.lines, fmt.Sprintf(format, args...))
}

var (
	startProxy = netns.Register("proxy.start", func(_ context.Context, a proxyArgs) (struct{}, error) {
		serve := map[string]func(net.Conn, proxyArgs) error{"http": serveConnect, "socks5": serveSOCKS}[a.Kind]
		if serve == nil {
			return struct{}{}, fmt.Errorf("no proxy %q", a.Kind)
		}
		ln, err := net.Listen("tcp", a.Addr)
		if err != nil {
			return struct{}{}, err
		}
		go func() { // ends with the host
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { // ends with its connection
					defer c.Close()
					if err := serve(c, a); err != nil {
						logProxy("error: %v", err)
					}
				}()
			}
		}()
		return struct{}{}, nil
	})

	// takeProxyLog returns the log and begins a new one.
	takeProxyLog = netns.Register("proxy.log", func(context.Context, struct{}) ([]string, error) {
		proxyLog.mu.Lock()
		defer proxyLog.mu.Unlock()
		lines := proxyLog.lines
		proxyLog.lines = nil
		return lines, nil
	})
)

// serveConnect is an HTTP proxy: CONNECT with Basic authentication, and nothing
// else. After a 407 the connection goes on, as RFC 9110 allows.
func serveConnect(c net.Conn, a proxyArgs) error {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		refuse := func(status int, header string) error {
			logProxy("%s %s %d", req.Method, req.RequestURI, status)
			_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%sContent-Length: 0\r\n\r\n", status, http.StatusText(status), header)
			return err
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(a.User+":"+a.Password))
		switch {
		case req.Method != http.MethodConnect:
			err = refuse(http.StatusMethodNotAllowed, "")
		case a.User != "" && req.Header.Get("Proxy-Authorization") != want:
			err = refuse(http.StatusProxyAuthRequired, "Proxy-Authenticate: Basic realm=\"lab\"\r\n")
		default:
			server, dialErr := net.Dial("tcp", req.RequestURI)
			if dialErr != nil {
				return refuse(http.StatusBadGateway, "")
			}
			defer server.Close()
			logProxy("CONNECT %s 200", req.RequestURI)
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
				return err
			}
			tunnel(c, r, server)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// serveSOCKS is a SOCKS5 proxy: CONNECT, by name or address (RFC 1928), with
// user and password (RFC 1929) if they are required.
func serveSOCKS(c net.Conn, a proxyArgs) error {
	r := bufio.NewReader(c)
	read := func(n int) ([]byte, error) {
		p := make([]byte, n)
		_, err := io.ReadFull(r, p)
		return p, err
	}
	head, err := read(2)
	if err != nil {
		return err
	}
	if head[0] != 5 {
		return fmt.Errorf("SOCKS version %d", head[0])
	}
	methods, err := read(int(head[1]))
	if err != nil {
		return err
	}
	method := byte(0) // no authentication
	if a.User != "" {
		method = 2 // user and password
	}
	if !bytes.Contains(methods, []byte{method}) {
		logProxy("SOCKS no acceptable method")
		c.Write([]byte{5, 0xff})
		return nil
	}
	c.Write([]byte{5, method})
	if method == 2 {
		if err := checkSOCKSUser(c, read, a); err != nil {
			return err
		}
	}
	if head, err = read(4); err != nil { // version, command, reserved, address type
		return err
	}
	var host string
	switch head[3] {
	case 1, 4:
		p, err := read(map[byte]int{1: 4, 4: 16}[head[3]])
		if err != nil {
			return err
		}
		host = net.IP(p).String()
	case 3:
		n, err := read(1)
		if err != nil {
			return err
		}
		name, err := read(int(n[0]))
		if err != nil {
			return err
		}
		host = string(name)
	default:
		return fmt.Errorf("SOCKS address type %d", head[3])
	}
	port, err := read(2)
	if err != nil {
		return err
	}
	target := net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
	answer := func(code byte) { c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0}) }
	if head[1] != 1 {
		answer(7) // command not supported
		return fmt.Errorf("SOCKS command %d", head[1])
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		answer(5) // connection refused
		return err
	}
	defer server.Close()
	logProxy("SOCKS %s", target)
	answer(0)
	tunnel(c, r, server)
	return nil
}

func checkSOCKSUser(c net.Conn, read func(int) ([]byte, error), a proxyArgs) error {
	var got [2]string
	if _, err := read(1); err != nil { // version
		return err
	}
	for i := range got {
		n, err := read(1)
		if err != nil {
			return err
		}
		p, err := read(int(n[0]))
		if err != nil {
			return err
		}
		got[i] = string(p)
	}
	if got != [2]string{a.User, a.Password} {
		logProxy("SOCKS wrong password")
		c.Write([]byte{1, 1})
		return errors.New("SOCKS authentication")
	}
	c.Write([]byte{1, 0})
	return nil
}

// tunnel copies both ways until both ends have finished. From the client it
// reads r, which may hold bytes already.
func tunnel(client net.Conn, r io.Reader, server net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(server, r)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, server)
	client.(*net.TCPConn).CloseWrite()
	<-done
}
