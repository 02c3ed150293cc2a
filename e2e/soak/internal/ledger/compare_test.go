package ledger

import (
	"strings"
	"testing"
)

func TestEnds(t *testing.T) {
	told := func(code uint32, reason string, remote bool) *Told {
		return &Told{Code: code, Reason: reason, Remote: remote}
	}
	closed := func(code uint32, reason string) *Closed { return &Closed{Code: code, Reason: reason} }
	broke := &Told{Remote: true, Err: "reset"}
	for name, c := range map[string]struct {
		client, server End
		want           string // in a violation, "" if there is none
	}{
		"closed by the client":             {End{Told: told(3, "x", false), Closed: closed(3, "x")}, End{Told: told(3, "x", true)}, ""},
		"closed by the server":             {End{Told: told(3, "x", true)}, End{Told: told(3, "x", false), Closed: closed(3, "x")}, ""},
		"both":                             {End{Told: told(3, "x", false), Closed: closed(3, "x")}, End{Told: told(4, "", false), Closed: closed(4, "")}, ""},
		"cut":                              {End{Told: broke, Connection: 9}, End{Told: broke}, ""},
		"closed, and cut before that came": {End{Told: told(3, "", false), Closed: closed(3, ""), Connection: 9}, End{Told: broke}, ""},
		"answer lost":                      {End{Refused: "reset", Connection: 9}, End{Told: broke}, ""},

		"not cut":             {End{Told: broke}, End{Told: broke}, "nothing was done"},
		"one alone is broken": {End{Told: told(3, "", false), Closed: closed(3, "")}, End{Told: broke}, "server was told that the session broke"},
		"another code":        {End{Told: told(3, "x", false), Closed: closed(3, "x")}, End{Told: told(4, "x", true)}, "was told code 4"},
		"another reason":      {End{Told: told(3, "x", false), Closed: closed(3, "x")}, End{Told: told(3, "", true)}, "closed with 3"},
		"nobody closed":       {End{Told: told(0, "", true), Connection: 9}, End{Told: broke}, "which it did not"},
		"own close unknown":   {End{Told: told(0, "", false)}, End{Told: told(0, "", true)}, "which it did not"},
		"never told":          {End{}, End{Told: broke}, "never told"},
		"close failed":        {End{Told: told(3, "", false), Closed: &Closed{Code: 3, Err: "no"}}, End{Told: told(3, "", true)}, "CloseWithError returned"},
		"refused for nothing": {End{Refused: "429"}, End{Told: broke}, "was not opened though"},
		"datagrams lost": {End{Way: H2, Told: told(3, "", false), Closed: closed(3, ""), DatagramsSent: 5}, End{Way: H2, Told: told(3, "", true), DatagramsReceived: 4},
			"4 datagrams received"},
		"datagrams lost on the way": {End{Way: H3, Told: told(3, "", false), Closed: closed(3, ""), DatagramsSent: 5}, End{Way: H3, Told: told(3, "", true), DatagramsReceived: 4}, ""},
	} {
		for _, clientFirst := range []bool{true, false} {
			var got []string
			e := NewEnds(func(v Violation) { got = append(got, v.String()) })
			c.client.Side, c.server.Side = Client, Server
			c.client.Session, c.server.Session = 1, 1
			e.Cut(9)
			if clientFirst {
				e.Add(c.client)
				e.Add(c.server)
			} else {
				e.Add(c.server)
				e.Add(c.client)
			}
			e.Finish()
			all := strings.Join(got, "\n")
			if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
				t.Errorf("%s: got %q, want %q", name, all, c.want)
			}
			if e.Compared != 1 {
				t.Errorf("%s: %d sessions were compared", name, e.Compared)
			}
		}
	}
}

func TestEndsOfOneSide(t *testing.T) {
	for name, c := range map[string]struct {
		ends []End
		want string
	}{
		"not opened, and cut":     {[]End{{Side: Client, Refused: "x", Connection: 9}}, ""},
		"not opened":              {[]End{{Side: Client, Refused: "x"}}, "was not opened: x"},
		"the server knew nothing": {[]End{{Side: Client, Told: &Told{Err: "x"}, Connection: 9}}, "server never told"},
		"the client knew nothing": {[]End{{Side: Server, Told: &Told{Err: "x"}}}, "client never told"},
		"told twice":              {[]End{{Side: Server, Told: &Told{Err: "x"}}, {Side: Server, Told: &Told{Err: "x"}}}, "told twice"},
	} {
		var got []string
		e := NewEnds(func(v Violation) { got = append(got, v.String()) })
		e.Cut(9)
		for _, end := range c.ends {
			e.Add(end)
		}
		e.Finish()
		all := strings.Join(got, "\n")
		if (c.want == "") != (all == "") || !strings.Contains(all, c.want) {
			t.Errorf("%s: got %q, want %q", name, all, c.want)
		}
	}
}
