package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func newTestPage(t *testing.T, s pageSettings) *resources {
	t.Helper()
	h, err := newResources("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.page, err = newPage(s); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request with header fields, NAME and VALUE by turns.
func ask(h http.Handler, method, path string, fields ...string) *http.Response {
	r := httptest.NewRequest(method, "https://towpath.example"+path, nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPageFiles(t *testing.T) {
	h := newTestPage(t, pageSettings{Transports: []string{"h3"}})
	for path, contentType := range map[string]string{
		"/":             "text/html; charset=utf-8",
		"/index.html":   "text/html; charset=utf-8",
		"/page.js":      "text/javascript; charset=utf-8",
		"/page.css":     "text/css; charset=utf-8",
		"/page.svg":     "image/svg+xml",
		"/licenses.txt": "text/plain; charset=utf-8",
		"/page.json":    "application/json",
	} {
		t.Run(strings.TrimPrefix(path, "/"), func(t *testing.T) {
			get := ask(h, http.MethodGet, path)
			text := body(t, get)
			if get.StatusCode != http.StatusOK || text == "" || get.ContentLength != int64(len(text)) {
				t.Errorf("status %d, %d bytes, Content-Length %d", get.StatusCode, len(text), get.ContentLength)
			}
			cache := "no-cache"
			if path == "/page.json" {
				cache = "no-store" // it is another one after a restart
			}
			for name, want := range map[string]string{
				"Content-Type":                 contentType,
				"Cache-Control":                cache,
				"X-Content-Type-Options":       "nosniff",
				"Referrer-Policy":              "no-referrer",
				"Cross-Origin-Opener-Policy":   "same-origin",
				"Cross-Origin-Embedder-Policy": "require-corp",
				"Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := get.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			policy := get.Header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("%q is missing in %q", want, policy)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
				t.Errorf("policy %q", policy)
			}

			head := ask(h, http.MethodHead, path)
			if head.StatusCode != http.StatusOK || body(t, head) != "" || head.ContentLength != int64(len(text)) || head.Header.Get("Content-Type") != contentType {
				t.Errorf("HEAD: %+v", head)
			}
			for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
				if resp := ask(h, method, path); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" || resp.Header.Get("Content-Security-Policy") == "" {
					t.Errorf("%s: status %d, %v", method, resp.StatusCode, resp.Header)
				}
			}

			etag := get.Header.Get("ETag")
			if path == "/page.json" {
				if etag != "" {
					t.Errorf("ETag %q", etag)
				}
				return
			}
			for tag, status := range map[string]int{etag: 304, "W/" + etag: 304, `"other", ` + etag: 304, "*": 304, `"other"`: 200} {
				resp := ask(h, http.MethodGet, path, "If-None-Match", tag)
				if resp.StatusCode != status || (body(t, resp) == "") != (status == 304) || resp.Header.Get("ETag") != etag {
					t.Errorf("If-None-Match %s: status %d, ETag %q", tag, resp.StatusCode, resp.Header.Get("ETag"))
				}
			}
			if resp := ask(h, http.MethodGet, path, "Range", "bytes=0-3"); resp.StatusCode != http.StatusPartialContent || body(t, resp) != text[:4] {
				t.Errorf("a range: status %d", resp.StatusCode)
			}
		})
	}
	if a, b := ask(h, http.MethodGet, "/page.js").Header.Get("ETag"), ask(h, http.MethodGet, "/page.css").Header.Get("ETag"); a == b {
		t.Errorf("two files with one tag %q", a)
	}
	if resp := ask(h, http.MethodGet, "//page.css"); resp.StatusCode != http.StatusOK {
		t.Errorf("a doubled slash: status %d", resp.StatusCode)
	}
	for _, path := range []string{"/page", "/page/", "/page/index.html", "/page.go", "/favicon.ico"} {
		if resp := ask(h, http.MethodGet, path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}

// TestPageIsNoSession shows that a session asked for at the page's paths is told
// that there is none, and not given the page.
func TestPageIsNoSession(t *testing.T) {
	h := newTestPage(t, pageSettings{Transports: []string{"h3"}})
	for _, path := range []string{"/", "/page.js", "/page.json"} {
		resp := ask(h, http.MethodGet, path, "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13",
			"Sec-WebSocket-Protocol", "towpath.capsule.v1", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("a WebSocket at %s: status %d", path, resp.StatusCode)
		}
		if resp := ask(h, http.MethodConnect, path); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("CONNECT %s: status %d", path, resp.StatusCode)
		}
	}
}

func TestPageAsksNobodyElse(t *testing.T) {
	h := newTestPage(t, pageSettings{})
	html := body(t, ask(h, http.MethodGet, "/"))
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1) {
		if resp := ask(h, http.MethodGet, m[1]); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", m[1], resp.StatusCode)
		}
	}
	if regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(>|[^>]*[^"]>[^<])`).MatchString(html) {
		t.Error("something is inline, which the policy forbids")
	}
	for _, path := range []string{"/", "/page.css", "/page.js"} {
		text := body(t, ask(h, http.MethodGet, path))
		for _, m := range regexp.MustCompile(`(?:url\(|@import|src=|href=|fetch\(|import\()["']?(?:https?:)?//[^"' )]*`).FindAllString(text, -1) {
			t.Errorf("%s asks elsewhere: %s", path, m)
		}
	}
}

func TestPageSettings(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, s := range map[string]pageSettings{
		`{"transports":["h3","ws"],"certificateHashes":["aGFzaA=="],"certificateExpires":"2030-01-02T03:04:05Z","host":"towpath.example"}`: {
			Transports: []string{"h3", "ws"}, CertificateHashes: []string{"aGFzaA=="}, CertificateExpires: &expires},
		`{"transports":["h2"],"certificateHashes":[],"host":"towpath.example"}`: {Transports: []string{"h2"}},
	} {
		if got := body(t, ask(newTestPage(t, s), http.MethodGet, "/page.json")); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// lines reads the next n lines that serve prints.
func lines(t *testing.T, r *bufio.Reader, n int) (all []string) {
	t.Helper()
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}

func TestServePage(t *testing.T) {
	cert := writeCert(t)
	client := func(conf *tls.Config) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, ForceAttemptHTTP2: true}, Timeout: 20 * time.Second}
	}
	get := func(t *testing.T, c *http.Client, s *served, path string) (int, string) {
		t.Helper()
		resp, err := c.Get(s.url(path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, body(t, resp)
	}
	settings := func(t *testing.T, c *http.Client, s *served) (p pageSettings) {
		t.Helper()
		_, text := get(t, c, s, "/page.json")
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		return p
	}
	t.Run("self-signed", func(t *testing.T) {
		s := start(t, "--transport", "ws,h3")
		c := client(&tls.Config{InsecureSkipVerify: true})
		if code, text := get(t, c, s, "/"); code != http.StatusOK || !strings.Contains(text, "<title>Towpath") {
			t.Errorf("status %d, %q", code, text)
		}
		p := settings(t, c, s)
		sum, err := hex.DecodeString(s.hash)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.CertificateHashes) != 1 || p.CertificateHashes[0] != base64.StdEncoding.EncodeToString(sum) {
			t.Errorf("hashes %q, want the one of %s", p.CertificateHashes, s.hash)
		}
		if p.CertificateExpires == nil || time.Until(*p.CertificateExpires) > 13*24*time.Hour || time.Until(*p.CertificateExpires) < 12*24*time.Hour {
			t.Errorf("expires %v", p.CertificateExpires)
		}
		if strings.Join(p.Transports, " ") != "ws h3" || p.Host != s.addr {
			t.Errorf("%+v", p)
		}
		if all := lines(t, s.rest, 3); !strings.Contains(all[0], "base64: ") || all[1] != "open https://"+s.addr+"/ in a browser" || !strings.HasPrefix(all[2], "try: ") {
			t.Errorf("%q", all)
		}
	})
	t.Run("certificate of a CA", func(t *testing.T) {
		s := start(t, "--cert", cert.cert, "--key", cert.key)
		p := settings(t, client(&tls.Config{RootCAs: cert.Pool}), s)
		if len(p.CertificateHashes) != 0 || p.CertificateExpires != nil || strings.Join(p.Transports, " ") != "h3 h2 ws" {
			t.Errorf("%+v", p)
		}
		if all := lines(t, s.rest, 1); !strings.HasPrefix(all[0], "open https://") {
			t.Errorf("%q", all)
		}
	})
	t.Run("unspecified address", func(t *testing.T) {
		s := start(t, "--addr", ":0")
		_, port, err := net.SplitHostPort(s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if all := lines(t, s.rest, 2); all[1] != "open https://localhost:"+port+"/ in a browser" {
			t.Errorf("%q", all)
		}
	})
	t.Run("no TCP", func(t *testing.T) {
		s := start(t, "--transport", "h3")
		if all := lines(t, s.rest, 2); !strings.Contains(all[1], "serve h2 or ws as well") {
			t.Errorf("%q", all)
		}
	})
	t.Run("with --root there is none", func(t *testing.T) {
		s := start(t, "--root", t.TempDir())
		c := client(&tls.Config{InsecureSkipVerify: true})
		for path := range newTestPage(t, pageSettings{}).page.files {
			if code, text := get(t, c, s, path); strings.Contains(text, "Towpath") || path != "/" && path != "/index.html" && code != http.StatusNotFound {
				t.Errorf("%s: status %d, %q", path, code, text)
			}
		}
		if code, _ := get(t, c, s, "/page.json"); code != http.StatusNotFound {
			t.Errorf("/page.json: status %d", code)
		}
		if all := lines(t, s.rest, 2); strings.Contains(strings.Join(all, " "), "browser") {
			t.Errorf("%q", all)
		}
	})
}

func TestBrowsable(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"*.example.com", "towpath.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}
	for _, c := range []struct {
		addr string
		ca   bool
		leaf *x509.Certificate
		want string
	}{
		{"127.0.0.1:5", false, leaf, "127.0.0.1:5"},
		{"[::]:5", false, leaf, "localhost:5"},
		{"[::]:5", true, leaf, "towpath.example:5"},
		{"192.0.2.1:5", true, leaf, "192.0.2.1:5"},
		{"192.0.2.2:5", true, leaf, "towpath.example:5"},
		{"192.0.2.2:5", true, &x509.Certificate{DNSNames: []string{"*.example.com"}}, "192.0.2.2:5"},
	} {
		a, err := net.ResolveTCPAddr("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		got := browsable(a, c.ca, c.leaf)
		if got != c.want {
			t.Errorf("%s, of a CA %v: %s, want %s", c.addr, c.ca, got, c.want)
		}
		if _, err := url.Parse("https://" + got + "/"); err != nil {
			t.Error(err)
		}
	}
}
