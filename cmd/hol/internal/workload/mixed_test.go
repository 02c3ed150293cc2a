package workload

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestMixed(t *testing.T) {
	mixed := func(d lab.Direction) lab.Run {
		run := small()
		run.Direction = d
		run.Workload.Kind = lab.Mixed
		return run
	}
	for _, d := range []lab.Direction{lab.Down, lab.Up} {
		t.Run("goodput counts what arrives in the measured time, "+string(d), func(t *testing.T) {
			// Two messages of the bulk under way at a time, 10 ms each: they arrive in
			// pairs at 10, 20, ... after the first, of which 40 up to 110 are in the
			// measured time.
			run := mixed(d)
			f := &fake{traits: tcp, delay: 10 * ms, window: 2}
			bubble(t, f, run, func(o Outcome, err error) {
				if err != nil {
					t.Fatal(err)
				}
				if want := (lab.Bulk{Bytes: 2 * 8 * bulkMessage, Duration: 80 * ms}); o.Bulk != want {
					t.Errorf("bulk %+v, not %+v", o.Bulk, want)
				}
				wantSamples(t, o.Samples, all(run, 10*ms))
				if want := sizes(run, 0, 2, 6) + sizes(run, 1, 1, 5); o.Arrived != want { // 50 to 110 ms, 40 to 100 ms
					t.Errorf("messages of %d bytes, not %d", o.Arrived, want)
				}
			})
		})
	}
	t.Run("a bulk transfer that is held up at the end ends with it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{traits: tcp, delay: 10 * ms, window: 1}
			f.fate = func(h header, d lab.Direction) fate {
				if h.kind == bulk && h.sequence == 1 {
					return fate{extra: time.Hour}
				}
				return fate{}
			}
			begun := time.Now()
			o, err := play(t.Context(), f.adapter(), adapter.Env{}, mixed(lab.Down), Marks{}, newTimer)
			if err != nil || o.Bulk.Bytes != 0 {
				t.Fatalf("%+v, %v", o.Bulk, err)
			}
			// Four messages of the set-up; the messages of the run are all there 120 ms
			// after its first.
			if took, want := time.Since(begun), 40*ms+lead+120*ms; took != want {
				t.Errorf("took %v, not %v", took, want)
			}
		})
	})
	for _, c := range []struct {
		name   string
		fate   fate
		traits adapter.Traits
		want   string
	}{
		{"a lost part", fate{lost: true}, adapter.Traits{Reliable: true, ServerOpens: true}, "bulk, receiving down: a message that the workload did not send: bulk 4, not 3"},
		{"a part twice", fate{copies: 1}, adapter.Traits{ServerOpens: true}, "bulk, receiving down: a message that the workload did not send: bulk 3, not 4"},
		{"sending fails", fate{err: errBroken}, tcp, "bulk, sending down: broken"},
		{"a part of another channel", fate{change: func(m []byte) []byte {
			m[3] = 0
			return m
		}}, tcp, "bulk, receiving down: a message that the workload did not send"},
		{"a changed part", fate{change: func(m []byte) []byte {
			m[bulkMessage-1]++
			return m
		}}, tcp, "bulk, receiving down: a message with changed content"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{traits: c.traits, delay: 10 * ms, window: 1}
			f.fate = func(h header, d lab.Direction) fate {
				if h.kind == bulk && h.sequence == 3 {
					return c.fate
				}
				return fate{}
			}
			bubble(t, f, mixed(lab.Down), func(o Outcome, err error) {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, not %s", err, c.want)
				}
			})
		})
	}
}
