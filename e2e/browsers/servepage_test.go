package browsers

import (
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// TestServePage: the page of towpath serve connects to its server by each way,
// measures, and breaks no rule of its own policy.
func TestServePage(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			s := serve(t)
			// A phone's width, on which nothing may be cut off.
			p := b.openOn(t, s.url("/"), view{Width: 390, Height: 844})
			for _, way := range []string{"h3", "ws"} {
				t.Run(way, func(t *testing.T) {
					ctx := clients.Limited(t)
					clients.Must(t, p.click(ctx, fmt.Sprintf("label:has(input[value=%s])", way)))
					// A stream and a datagram have come back, so the plot has points.
					clients.Must(t, p.run(ctx, `async (way) => {
						const { body } = document
						const there = () => body.dataset.state === 'connected' && body.dataset.way === way &&
							Number(document.getElementById('plot').dataset.points) > 1 &&
							document.querySelectorAll('#summary tr[data-way=' + way + ']').length > 1
						while (!there()) await new Promise((again) => setTimeout(again, 50))
					}`, way, nil))
					file := filepath.Join(t.TempDir(), "page.png")
					clients.Must(t, p.screenshot(ctx, file, true))
					f, err := os.Open(file)
					clients.Must(t, err)
					defer f.Close()
					picture, err := png.DecodeConfig(f)
					clients.Must(t, err)
					if picture.Width > 390 || picture.Height < 844 {
						t.Errorf("the whole page has %d by %d pixels", picture.Width, picture.Height)
					}
					var beyond int // what has to be scrolled to sideways
					clients.Must(t, p.run(ctx, `() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth`, nil, &beyond))
					if beyond > 0 {
						t.Errorf("%d pixels are beyond the screen", beyond)
					}
				})
			}
			t.Run("throughput", func(t *testing.T) {
				ctx := clients.Limited(t)
				clients.Must(t, p.click(ctx, "#measure"))
				var measured string
				clients.Must(t, p.run(ctx, `async () => {
					const measured = document.getElementById('measured')
					while (!/^Moved|^Not/.test(measured.textContent)) await new Promise((again) => setTimeout(again, 50))
					return measured.textContent
				}`, nil, &measured))
				if measured[:3] == "Not" {
					t.Error(measured)
				}
			})
			said, err := p.said(clients.Limited(t))
			clients.Must(t, err)
			for _, line := range said {
				if line.Type == "error" || line.Type == "uncaught" {
					t.Errorf("the page said %s: %s", line.Type, line.Text)
				}
			}
		})
	}
}
