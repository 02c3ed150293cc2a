package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"time"

	"github.com/towpath-go/towpath/negotiate"
)

// pageFiles is what `npm run page` in web/ makes of web/page.
//
//go:embed page
var pageFiles embed.FS

// pagePaths are the page's files. Each is at /NAME; the page itself at / too.
var pagePaths = map[string]string{
	"index.html":   "text/html; charset=utf-8",
	"page.js":      "text/javascript; charset=utf-8",
	"page.css":     "text/css; charset=utf-8",
	"page.svg":     "image/svg+xml",
	"licenses.txt": "text/plain; charset=utf-8",
}

// pageHeader is on every answer. The policy lets the page load its own files and
// connect to its own server, and nothing else: no inline script or style, no
// frame around it. The two Cross-Origin policies make it isolated, which gives
// it a clock of microseconds: otherwise Firefox rounds to a millisecond.
var pageHeader = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Embedder-Policy": "require-corp",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
}

// pageSettings is what the page has to know of its server: /page.json.
type pageSettings struct {
	// Transports are the ones that are served: h3, h2, ws.
	Transports []string `json:"transports"`
	// CertificateHashes are SHA-256, in base64, for serverCertificateHashes.
	// Without a self-signed certificate there are none.
	CertificateHashes []string `json:"certificateHashes"`
	// CertificateExpires is when a self-signed certificate ends.
	CertificateExpires *time.Time `json:"certificateExpires,omitempty"`
	// Host is what the request named: the server's own origin, as it sees it. It
	// differs from the page's if a proxy changed it, and then sessions get 403.
	Host string `json:"host"`
}

// A page is the http.Handler of serve's page.
type page struct {
	settings pageSettings // without Host
	files    map[string]pageFile
}

type pageFile struct {
	contentType, etag string
	body              []byte
}

func newPage(settings pageSettings) (*page, error) {
	if settings.CertificateHashes == nil {
		settings.CertificateHashes = []string{} // a list in JSON too
	}
	p := &page{settings: settings, files: make(map[string]pageFile)}
	for name, contentType := range pagePaths {
		b, err := pageFiles.ReadFile(path.Join("page", name))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		f := pageFile{contentType: contentType, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`, body: b}
		p.files["/"+name] = f
		if name == "index.html" {
			p.files["/"] = f
		}
	}
	return p, nil
}

// serve answers a request of the page, and returns false for any other one.
func (p *page) serve(w http.ResponseWriter, r *http.Request, path string) bool {
	f, ok := p.files[path]
	if !ok && path != "/page.json" || negotiate.IsUpgrade(r) {
		return false
	}
	h := w.Header()
	for name, value := range pageHeader {
		h.Set(name, value)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		h.Set("Cache-Control", "no-store")
		http.Error(w, "the page can be read only", http.StatusMethodNotAllowed)
		return true
	}
	if !ok {
		s := p.settings
		s.Host = r.Host
		b, err := json.Marshal(s)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return true
		}
		f = pageFile{contentType: "application/json", body: b}
		h.Set("Cache-Control", "no-store")
	} else {
		// A browser asks each time, and learns by the tag that nothing changed:
		// another version of the command may serve there tomorrow.
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
	}
	h.Set("Content-Type", f.contentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
	return true
}
