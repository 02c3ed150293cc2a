package netns_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
)

func TestInside(t *testing.T) {
	lab := netns.New(t, netns.Topology{})
	var ln net.Listener
	var pc net.PacketConn
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(lab.Server.Inside(func() (err error) {
		if ln, err = net.Listen("tcp", ":"+port); err != nil {
			return err
		}
		t.Cleanup(func() { ln.Close() })
		if pc, err = net.ListenPacket("udp", ":"+port); err == nil {
			t.Cleanup(func() { pc.Close() })
		}
		return err
	}))
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	go func() { // ends with the socket
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
	echoed := func(network, at string) error {
		var c net.Conn
		if err := lab.Client.Inside(func() (err error) {
			c, err = net.DialTimeout(network, net.JoinHostPort(netns.ServerV4, at), patience)
			return err
		}); err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "hello"); err != nil {
			return err
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			return fmt.Errorf("%q, %w", b, err)
		}
		return nil
	}

	t.Run("sockets are the hosts'", func(t *testing.T) {
		for _, network := range []string{"tcp", "udp"} {
			if err := echoed(network, port); err != nil {
				t.Errorf("%s: %v", network, err)
			}
		}
		if c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience); err == nil {
			c.Close()
			t.Error("the server's port is the machine's too")
		}
	})
	t.Run("many ports lead to one", func(t *testing.T) {
		lab.Ports(t, 20000, 20010, 4433)
		for _, network := range []string{"tcp", "udp"} {
			for _, at := range []string{"20000", "20010", port} {
				if err := echoed(network, at); err != nil {
					t.Errorf("%s port %s: %v", network, at, err)
				}
			}
		}
		if err := echoed("tcp", "20011"); err == nil {
			t.Error("a port beyond the last one leads there too")
		}
	})
	t.Run("a process sees the host's links and names", func(t *testing.T) {
		for path, want := range map[string]string{"/etc/hosts": netns.ServerName, "/proc/self/net/dev": "eth0:"} {
			var out []byte
			cmd := exec.Command("cat", path)
			must(lab.Client.Inside(func() (err error) {
				out, err = cmd.Output()
				return err
			}))
			if !strings.Contains(string(out), want) {
				t.Errorf("%s in the host:\n%s\nwant %s in it", path, out, want)
			}
		}
	})
	t.Run("the test stays where it was", func(t *testing.T) {
		for range 20 { // on whatever threads there are
			ifs, err := net.Interfaces()
			must(err)
			for _, i := range ifs {
				if i.Name == "eth0" && len(ifs) == 2 {
					if addrs, err := i.Addrs(); err == nil && strings.Contains(fmt.Sprint(addrs), netns.ClientV4) {
						t.Fatal("a thread of the test is in the client's namespace")
					}
				}
			}
		}
		if _, err := net.LookupHost(netns.ServerName); err == nil {
			t.Error("the machine resolves the lab's names too")
		}
	})
	t.Run("errors are the function's", func(t *testing.T) {
		want := errors.New("as it should")
		if err := lab.Client.Inside(func() error { return want }); !errors.Is(err, want) {
			t.Errorf("error %v", err)
		}
	})
}
