package peers

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// The rows of HTTP/2 clients that are commands. Their versions are the
// machine's, so the tests' logs have them and not the document.
var (
	requestsH2load = &clients.Row{Name: "h2load", Table: requests, Peer: "h2load (nghttp2)", Module: "Debian's nghttp2-client"}
	requestsNghttp = &clients.Row{Name: "nghttp", Table: requests, Peer: "nghttp (nghttp2)", Module: "Debian's nghttp2-client"}
	requestsCurl   = &clients.Row{Name: "curl", Table: requests, Peer: "curl --http2", Module: "Debian's curl"}
)

// A tool is a command that makes requests, with files for their content.
type tool struct {
	name     string
	path     string
	server   *requestServer
	small    string // a file of 1,000 bytes
	mebibyte string // a file of pattern(1<<20)
	ca       string // a file with the server's certificate
	dir      string // where they are
}

// newTool looks a command up, and skips or fails the test without it.
func newTool(t *testing.T, name string) tool {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		clients.Unavailable(t, name, err)
	}
	dir := t.TempDir()
	c := tool{
		name: name, path: path, server: newRequestServer(t, nil), dir: dir,
		small: filepath.Join(dir, "small"), mebibyte: filepath.Join(dir, "mebibyte"), ca: filepath.Join(dir, "ca.pem"),
	}
	clients.Must(t, os.WriteFile(c.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.server.cert.Leaf.Raw}), 0o600))
	clients.Must(t, os.WriteFile(c.small, clients.Pattern(1000), 0o600))
	clients.Must(t, os.WriteFile(c.mebibyte, clients.Pattern(1<<20), 0o600))
	version, err := c.run(clients.Limited(t), "--version")
	clients.Must(t, err)
	first, _, _ := strings.Cut(string(version), "\n")
	t.Log(first)
	return c
}

// run runs the command and returns its standard output.
func (c tool) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %q: %w\n%.2000s%.2000s", c.name, args, err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// check makes a check of what a tool does beside n sessions.
func (c tool) check(n int, restriction string, f func(ctx context.Context) error) requestCheck {
	return requestCheck{restriction, func(t *testing.T) {
		l := startLoad(t, otherConnections(t, c.server, n))
		defer l.end(t)
		l.beside(t, func(ctx context.Context) {
			if err := f(ctx); err != nil {
				t.Error(err)
			}
		})
	}}
}

func TestRequestsOfH2load(t *testing.T) {
	c := newTool(t, "h2load")
	if c.h2load(clients.Limited(t), 10, 0, 1, 1, "/check?n=999", "-d", c.small) == nil {
		t.Error("answers with status 400 are not noticed")
	}
	measureRequests(t, requestsH2load, [requestColumnCount]requestCheck{
		requestGET: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(
				c.h2load(ctx, 200, len(smallAnswer), 2, 10, "/small"),
				c.h2load(ctx, 20, 1<<20, 2, 10, "/mebibyte"))
		}),
		requestPOST: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(
				c.h2load(ctx, 100, 0, 2, 10, "/check?n=1000", "-d", c.small),
				c.h2load(ctx, 100, 1000, 2, 10, "/echo", "-d", c.small))
		}),
		requestTrailers: c.check(4, "it receives trailers and has no way to send any", func(ctx context.Context) error {
			return c.h2load(ctx, 50, 1000, 1, 10, "/echo", "-d", c.small, "-H", "te: trailers")
		}),
		requestHEAD: c.check(4, "", func(ctx context.Context) error {
			return c.h2load(ctx, 50, 0, 1, 10, "/mebibyte", "-H", ":method: HEAD")
		}),
		requestMebibyte: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(
				c.h2load(ctx, 10, 1<<20, 2, 5, "/echo", "-d", c.mebibyte),
				c.h2load(ctx, 10, 0, 2, 5, "/check?n=1048576", "-d", c.mebibyte))
		}),
		requestConcurrent: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(
				c.h2load(ctx, 100, len(smallAnswer), 1, 100, "/together?n=100"),
				c.h2load(ctx, 100, len(smallAnswer), 10, 10, "/together?n=100"))
		}),
		requestCrowd: c.check(32, "", func(ctx context.Context) error {
			return errors.Join(
				c.h2load(ctx, 2000, len(smallAnswer), 10, 100, "/small"),
				c.h2load(ctx, 20, 1<<20, 10, 2, "/echo", "-d", c.mebibyte))
		}),
	})
}

// The lines of h2load's summary that count.
var (
	h2loadRequests = regexp.MustCompile(`(?m)^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$`)
	h2loadCodes    = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$`)
	h2loadData     = regexp.MustCompile(`(?m)^traffic: .*, \S+ \((\d+)\) data$`)
)

// h2load makes n requests on some connections, so many at once on each, and
// expects all to succeed, over HTTP/2, with answers of that size.
func (c tool) h2load(ctx context.Context, n, size, connections, atOnce int, path string, more ...string) error {
	args := append([]string{
		"-n", strconv.Itoa(n), "-c", strconv.Itoa(connections), "-m", strconv.Itoa(atOnce),
		// A connection on which nothing happens fails, long before the test does.
		"-N", "10", c.server.url(path),
	}, more...)
	out, err := c.run(ctx, args...)
	if err != nil {
		return err
	}
	all := strconv.Itoa(n)
	for _, want := range []struct {
		line   *regexp.Regexp
		counts []string
	}{
		{h2loadRequests, []string{all, all, all, all, "0", "0", "0"}},
		{h2loadCodes, []string{all, "0", "0", "0"}},
		{h2loadData, []string{strconv.Itoa(n * size)}},
	} {
		if m := want.line.FindSubmatch(out); m == nil || string(bytes.Join(m[1:], []byte(" "))) != strings.Join(want.counts, " ") {
			return fmt.Errorf("h2load %q:\n%s\nwant %v of %v", args, out, want.counts, want.line)
		}
	}
	if !bytes.Contains(out, []byte("\nApplication protocol: h2\n")) {
		return fmt.Errorf("h2load %q did not use HTTP/2:\n%s", args, out)
	}
	return nil
}

func TestRequestsOfNghttp(t *testing.T) {
	c := newTool(t, "nghttp")
	if c.nghttp(clients.Limited(t), nil, "/check?n=999", "-d", c.small) == nil {
		t.Error("an answer with status 400 is not noticed")
	}
	measureRequests(t, requestsNghttp, [requestColumnCount]requestCheck{
		requestGET: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(c.nghttp(ctx, []byte(smallAnswer), "/small"), c.nghttp(ctx, clients.Pattern(1<<20), "/mebibyte"))
		}),
		requestPOST: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(c.nghttp(ctx, nil, "/check?n=1000", "-d", c.small), c.nghttp(ctx, clients.Pattern(1000), "/echo", "-d", c.small))
		}),
		requestTrailers: c.check(4, "", func(ctx context.Context) error {
			out, err := c.run(ctx, "-v", "-n", "-y", "-d", c.small, "--trailer", "x-checksum: a checksum, say", c.server.url("/echo"))
			if err == nil && !bytes.Contains(out, []byte(") x-checksum: a checksum, say\n")) {
				err = fmt.Errorf("no trailers came back:\n%s", out)
			}
			return err
		}),
		requestHEAD: c.check(4, "", func(ctx context.Context) error {
			out, err := c.run(ctx, "-v", "-y", "-H", ":method: HEAD", c.server.url("/mebibyte"))
			if err == nil && (!bytes.Contains(out, []byte(") :status: 200\n")) || !bytes.Contains(out, []byte(") content-length: 1048576\n")) || bytes.Contains(out, []byte("recv DATA"))) {
				err = fmt.Errorf("the answer to HEAD:\n%s", out)
			}
			return err
		}),
		requestMebibyte: c.check(4, "", func(ctx context.Context) error {
			return c.nghttp(ctx, clients.Pattern(1<<20), "/echo", "-d", c.mebibyte)
		}),
		requestConcurrent: c.check(4, "", func(ctx context.Context) error {
			return c.nghttpTimes(ctx, 100, len(smallAnswer), "/together?n=100")
		}),
		requestCrowd: c.check(32, "", func(ctx context.Context) error {
			return errors.Join(
				c.nghttpTimes(ctx, 100, len(smallAnswer), "/small"),
				c.nghttp(ctx, clients.Pattern(1<<20), "/echo", "-d", c.mebibyte))
		}),
	})
}

// nghttp makes a request, and expects an answer with that content.
func (c tool) nghttp(ctx context.Context, want []byte, path string, more ...string) error {
	// It says nothing of the status: an answer other than 200 has other content.
	out, err := c.run(ctx, append([]string{"-y", c.server.url(path)}, more...)...)
	if err == nil && !bytes.Equal(out, want) {
		err = fmt.Errorf("nghttp %s %q printed %d bytes, want %d: %.100q", path, more, len(out), len(want), out)
	}
	return err
}

// nghttpTimes makes n requests at once.
func (c tool) nghttpTimes(ctx context.Context, n, size int, path string) error {
	out, err := c.run(ctx, "-y", "-n", "-s", "-m", strconv.Itoa(n), c.server.url(path))
	if err != nil {
		return err
	}
	// Columns: status, size, path.
	line := regexp.MustCompile(`(?m) 200 +` + strconv.Itoa(size) + " " + regexp.QuoteMeta(path) + `$`)
	if got := len(line.FindAll(out, -1)); got != n {
		return fmt.Errorf("nghttp: %d of %d requests succeeded\n%s", got, n, out)
	}
	return nil
}

func TestRequestsOfCurl(t *testing.T) {
	c := newTool(t, "curl")
	if c.curl(clients.Limited(t), nil, "/check?n=999", "--data-binary", "@"+c.small) == nil {
		t.Error("an answer with status 400 is not noticed")
	}
	measureRequests(t, requestsCurl, [requestColumnCount]requestCheck{
		requestGET: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(c.curl(ctx, []byte(smallAnswer), "/small"), c.curl(ctx, clients.Pattern(1<<20), "/mebibyte"))
		}),
		requestPOST: c.check(4, "", func(ctx context.Context) error {
			return errors.Join(
				c.curl(ctx, nil, "/check?n=1000", "--data-binary", "@"+c.small, "-H", "Content-Type: application/octet-stream"),
				c.curl(ctx, clients.Pattern(1000), "/echo", "--data-binary", "@"+c.small))
		}),
		requestTrailers: c.check(4, "it receives trailers and has no way to send any", func(ctx context.Context) error {
			headers := filepath.Join(c.dir, "headers")
			if err := c.curl(ctx, clients.Pattern(1000), "/echo?x-checksum=sum", "--data-binary", "@"+c.small, "-D", headers); err != nil {
				return err
			}
			got, err := os.ReadFile(headers)
			if err == nil && !bytes.HasSuffix(got, []byte("\r\n\r\nx-checksum: sum\r\n")) {
				err = fmt.Errorf("the headers and trailers of the answer:\n%q", got)
			}
			return err
		}),
		requestHEAD: c.check(4, "", func(ctx context.Context) error {
			out, err := c.run(ctx, append(c.curlArgs(), "-I", c.server.url("/mebibyte"))...)
			if err == nil && (!bytes.HasPrefix(out, []byte("HTTP/2 200 \r\n")) || !bytes.Contains(out, []byte("\r\ncontent-length: 1048576\r\n"))) {
				err = fmt.Errorf("the answer to HEAD:\n%s", out)
			}
			return err
		}),
		requestMebibyte: c.check(4, "", func(ctx context.Context) error {
			return c.curl(ctx, clients.Pattern(1<<20), "/echo", "--data-binary", "@"+c.mebibyte)
		}),
		requestConcurrent: c.check(4, "", func(ctx context.Context) error { return c.curlTimes(ctx, 100, "/together?n=100&") }),
		requestCrowd: c.check(32, "", func(ctx context.Context) error {
			return errors.Join(c.curlTimes(ctx, 100, "/small?"), c.curl(ctx, clients.Pattern(1<<20), "/echo", "--data-binary", "@"+c.mebibyte))
		}),
	})
}

// curlArgs are the arguments of every request: the server's certificate, and
// HTTP/2 or nothing.
func (c tool) curlArgs() []string {
	return []string{"-q", "-sS", "--fail", "--http2", "--noproxy", "*", "--cacert", c.ca}
}

// curl makes a request, and expects an answer with that content.
func (c tool) curl(ctx context.Context, want []byte, path string, more ...string) error {
	args := append(append(c.curlArgs(), "-w", "HTTP/%{http_version}", c.server.url(path)), more...)
	out, err := c.run(ctx, args...)
	if err == nil && !bytes.Equal(out, append(want, "HTTP/2"...)) {
		err = fmt.Errorf("curl %s %q printed %d bytes, want %d: %.100q", path, more, len(out), len(want), out)
	}
	return err
}

// curlTimes makes n requests at once on one connection.
func (c tool) curlTimes(ctx context.Context, n int, path string) error {
	args := append(c.curlArgs(), "-Z", "--parallel-max", strconv.Itoa(n), "-o", os.DevNull,
		"-w", "%{http_version} %{http_code} %{size_download} %{num_connects}\n", c.server.url(path)+"i=[1-"+strconv.Itoa(n)+"]")
	out, err := c.run(ctx, args...)
	if err != nil {
		return err
	}
	first, others := fmt.Sprintf("2 200 %d 1\n", len(smallAnswer)), fmt.Sprintf("2 200 %d 0\n", len(smallAnswer))
	if strings.Count(string(out), first) != 1 || strings.Count(string(out), others) != n-1 {
		return fmt.Errorf("curl: of %d requests on one connection:\n%s", n, out)
	}
	return nil
}
