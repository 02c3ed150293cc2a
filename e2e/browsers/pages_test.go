package browsers

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// A loaded is a page with loads.mjs, and the server it came from.
type loaded struct {
	*page
	server *loadServer
}

func (s *loadServer) open(t *testing.T, b *browser) loaded {
	t.Helper()
	p := loaded{b.open(t, s.url("/hostile/blank.html")), s}
	clients.Must(t, p.load(clients.Limited(t), "loads", s.url("/hostile/loads.mjs")))
	return p
}

// call calls one of the functions of loads.mjs.
func (p loaded) call(t *testing.T, result any, name string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if args == nil {
		args = []any{}
	}
	if err := p.run(ctx, "(args) => towpath.modules.loads."+name+"(...args)", args, result); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// A connected is what loads.mjs tells of a session.
type connected struct {
	Session int
	Way     string
	Error   string
	Source  *string
}

// try makes a session, or not.
func (p loaded) try(t *testing.T, s *loadServer, path, way string) (c connected) {
	t.Helper()
	hash := s.cert.Hash()
	p.call(t, &c, "connect", s.url(path), way, base64.StdEncoding.EncodeToString(hash[:]))
	return c
}

// connect makes a session and returns its number, and the server's side of it.
func (p loaded) connect(t *testing.T, path, way string) (int, transport.Session) {
	t.Helper()
	c := p.try(t, p.server, path, way)
	if c.Error != "" || c.Way != way {
		t.Fatalf("by %s: %+v", way, c)
	}
	return c.Session, <-p.server.sessions
}

// A state is what loads.mjs counts.
type state struct {
	Read, Written, Wrong int64
	Errors               []string
	Ended                struct {
		CloseCode     uint32
		Reason, Error string
	}
}

// settled waits until a number has not changed for a second.
func settled(t *testing.T, what string, ask func() int64) int64 {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, since := ask(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s goes on growing: %d", what, last)
		}
		if now := ask(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > time.Second {
			return last
		}
	}
}

// memory is what all processes of a browser hold: their proportional set size.
func (b *browser) memory(t *testing.T) int64 {
	t.Helper()
	var sum int64
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(line[strings.LastIndexByte(string(line), ')')+1:]), " ")
		fields := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	for family := []int{b.pid}; len(family) > 0; family = family[1:] {
		family = append(family, children[family[0]]...)
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", family[0]))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(rollup)) {
			if kib, ok := strings.CutPrefix(line, "Pss:"); ok {
				n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
				sum += n << 10
			}
		}
	}
	if sum == 0 {
		t.Fatal("no process of the browser tells its memory")
	}
	return sum
}

// least is the least of some measurements: browsers collect when they like.
func (b *browser) least(t *testing.T) int64 {
	t.Helper()
	least := b.memory(t)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 5 {
		<-tick.C
		least = min(least, b.memory(t))
	}
	return least
}

// mostGrown is what a browser may grow by while it is offered 512 MiB, or
// writes without end. Up to 79 MiB were seen, and as often less than nothing.
const mostGrown = 192 << 20

// heap is what the server, which is this process, holds.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// ways are the two of the package.
var ways = []string{"ws", "h3"}

// TestSlowPage: a page that does not read holds the server back, and nobody's
// memory grows; then the rest comes, and is right.
func TestSlowPage(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			for _, way := range ways {
				t.Run(way, func(t *testing.T) {
					s := newLoadServer(t)
					p := s.open(t, b)
					number, session := p.connect(t, "/echo", way) // all code has run once
					p.call(t, nil, "echo", number, 1<<20)
					p.call(t, nil, "finish", number, 0, "")
					<-session.Context().Done()
					pageBefore, serverBefore := b.memory(t), heap()

					number, session = p.connect(t, "/flood", way)
					var held int
					p.call(t, &held, "hold", number, floodStreams)
					taken := settled(t, "what the server's writes were taken for", s.accepted.Load)
					pageGrown, serverGrown := b.least(t)-pageBefore, heap()-serverBefore
					t.Logf("%s by %s: %d MiB offered on %d streams, %d KiB taken of the writes; the browser grew by %d KiB, the server by %d KiB; %d datagrams sent, %d dropped by the server",
						b.version, way, s.offered.Load()>>20, held, taken>>10, pageGrown>>10, serverGrown>>10,
						session.Stats().DatagramsSent, session.Stats().DatagramsDroppedOutgoing)
					if taken > 48<<20 {
						t.Errorf("%d bytes were taken from the server's writes", taken)
					}
					if pageGrown > mostGrown || serverGrown > 32<<20 {
						t.Errorf("the browser grew by %d bytes, the server by %d", pageGrown, serverGrown)
					}

					var got struct{ Read, Wrong int64 }
					began := time.Now()
					const until = 48 << 20 // several times what was taken before
					p.call(t, &got, "drain", number, 1<<20, 5, until)
					if got.Read < until || got.Wrong != 0 {
						t.Errorf("%d bytes were read, %d of them wrong", got.Read, got.Wrong)
					}
					t.Logf("then %d MiB were read in %v; the browser is %d KiB above the beginning, the server %d KiB",
						got.Read>>20, time.Since(began).Round(time.Millisecond), (b.memory(t)-pageBefore)>>10, (heap()-serverBefore)>>10)
					p.call(t, nil, "finish", number, 0, "")
					<-session.Context().Done()
				})
			}
		})
	}
}

// TestDeafServer: a server that does not read holds the page's writes back.
func TestDeafServer(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			b := launch(t, k, launchOptions{insecure: true})
			for _, way := range ways {
				t.Run(way, func(t *testing.T) {
					s := newLoadServer(t)
					p := s.open(t, b)
					number, session := p.connect(t, "/deaf", way)
					before := b.memory(t)
					p.call(t, nil, "pour", number, 4)
					var now state
					written := settled(t, "what the page has written", func() int64 {
						p.call(t, &now, "state", number)
						return now.Written
					})
					grown := b.least(t) - before
					t.Logf("%s by %s: write() resolved for %d KiB on 4 streams; the browser grew by %d KiB", b.version, way, written>>10, grown>>10)
					if written > 32<<20 || grown > mostGrown || len(now.Errors) > 0 {
						t.Errorf("%d bytes written, grown by %d, %v", written, grown, now.Errors)
					}
					session.CloseWithError(7, "enough")
					n := settled(t, "errors", func() int64 {
						p.call(t, &now, "state", number)
						return int64(len(now.Errors))
					})
					// Firefox leaves the writes of its own streams pending.
					if n != 4 && (k != firefox || way != "h3") {
						t.Errorf("%d of 4 writes ended with the session: %v", n, now.Errors)
					}
					if now.Ended.CloseCode != 7 || now.Ended.Reason != "enough" {
						t.Errorf("the session ended with %+v", now.Ended)
					}
				})
			}
		})
	}
}
