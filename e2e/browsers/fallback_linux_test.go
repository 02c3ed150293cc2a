package browsers

import (
	"context"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

func TestPackage(t *testing.T) {
	for k, rows := range map[kind][]packageRow{chromium: chromiumPackage, firefox: firefoxPackage} {
		t.Run(string(k), func(t *testing.T) {
			n := newNetwork(t, k, trusting[k])
			for _, c := range rows {
				t.Run(c.row.Name, func(t *testing.T) {
					n.Filter(t, c.filter) // before the page, whose own connection it concerns too
					l := &packageLink{site: n.sites[c.site], row: c}
					l.page = n.open(t, l.site)
					clients.Measure(t, c.row, l, lacking(k, c.way))
					if dropped := n.Dropped(t); (dropped > 0) != (c.filter == dropUDP) {
						t.Errorf("the router dropped %d packets", dropped)
					}
				})
			}
			t.Run("what is remembered", func(t *testing.T) { testMemory(t, n) })
		})
	}
}

// lacking are the fields that are not a plain yes: those of the browser's own
// streams over HTTP/3.
func lacking(k kind, way string) clients.Exceptions {
	if way != "h3" {
		return nil
	}
	return nativeExceptions[k]
}

// A packageLink makes sessions of the package, by the way of its row alone.
type packageLink struct {
	page *page
	site *site
	row  packageRow
}

func (l *packageLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	options := map[string]any{"protocols": append([]string{}, offer...)}
	for name, value := range l.row.options {
		options[name] = value
	}
	client, report, err := l.page.connect(ctx, l.site.origin()+"/session", options)
	clients.Must(t, err)
	if report.Way != l.row.way {
		t.Fatalf("the page has its session by %q, not %q: %s", report.Way, l.row.way, report.Reason)
	}
	session := l.site.accept(t, ctx)
	if got := carriage(session); got != l.row.carriage {
		t.Fatalf("the server has the session by %s, not %s", got, l.row.carriage)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if err := client.Close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return client, clients.TowpathEnd{S: session}
}

// A report is the package's TransportReport, as far as the tests look at it.
type report struct {
	Way, Reason string
	HeadStart   *float64
	Attempts    []attempt
	Memory      struct {
		Decision   string
		ReadyAfter float64
	}
}

type attempt struct {
	Way, Outcome string
	Started      float64
	Ended        *float64
}

// String shows a report where a test fails.
func (r report) String() string {
	return fmt.Sprintf("%s, memory %q, head start %v, %d attempts: %s", r.Way, r.Memory.Decision, r.HeadStart, len(r.Attempts), r.Reason)
}

// connect makes a session of the package in the page, and tells how.
func (p *page) connect(ctx context.Context, url string, options map[string]any) (clients.ProcessEnd, report, error) {
	client, err := p.dial(ctx, dialing{url: url, module: "towpath", options: options})
	if err != nil {
		return client, report{}, err
	}
	r, err := p.report(ctx)
	return client, r, err
}

// report asks for the report of the page's last session.
func (p *page) report(ctx context.Context) (r report, err error) {
	err = p.run(ctx, `() => towpath.ends.sessions.at(-1).session.transport`, nil, &r)
	return r, err
}

// raceOver waits until nothing of the last session's race runs any more: then
// its lesson is learnt.
func (p *page) raceOver(ctx context.Context) (report, error) {
	if err := p.run(ctx, `async () => {
		const { session } = towpath.ends.sessions.at(-1)
		while (session.transport.attempts.some((one) => one.ended === null)) await new Promise((again) => setTimeout(again, 20))
	}`, nil, nil); err != nil {
		return report{}, err
	}
	return p.report(ctx)
}
