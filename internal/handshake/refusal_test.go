package handshake

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

type refuser struct {
	http.ResponseWriter
	limit transport.Limit
}

func (r *refuser) RefuseSession(status int, limit transport.Limit) {
	r.WriteHeader(status)
	r.limit = limit
}

func TestRefuse(t *testing.T) {
	rec := httptest.NewRecorder()
	if told := Refuse(rec, 429, transport.LimitSessions); told || rec.Code != 429 {
		t.Errorf("a transport that does not tell: status %d, told %v", rec.Code, told)
	}
	rec = httptest.NewRecorder()
	r := &refuser{ResponseWriter: rec}
	if told := Refuse(wrapped{r}, 429, transport.LimitSessions); !told || rec.Code != 429 || r.limit != transport.LimitSessions {
		t.Errorf("behind middleware: status %d, told %v of %q", rec.Code, told, r.limit)
	}
}

// wrapped is what middleware makes of a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type observer struct {
	http.ResponseWriter
	told int
}

func (o *observer) Told() { o.told++ }

func TestTold(t *testing.T) {
	o := &observer{ResponseWriter: httptest.NewRecorder()}
	Told(wrapped{o})
	Told(httptest.NewRecorder()) // nobody watches
	if o.told != 1 {
		t.Errorf("told %d times, want once", o.told)
	}
}
