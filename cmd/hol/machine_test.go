package main

import (
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestRealtimeIsWhatWasInForce(t *testing.T) {
	with, without := lab.Result{Realtime: true}, lab.Result{Run: lab.Run{Realtime: true}} // which was asked for it
	for _, c := range []struct {
		results []lab.Result
		want    string
	}{
		{nil, "no"},
		{[]lab.Result{with, with}, "yes"},
		{[]lab.Result{without}, "no"},
		{[]lab.Result{with, without, with}, "in 2 of 3 runs"},
		{[]lab.Result{with, {Failed: "x"}, {Rejected: "y"}}, "yes"},
	} {
		if got := describeMachine(1, c.results)["realtime"]; got != c.want {
			t.Errorf("%+v: %q, want %q", c.results, got, c.want)
		}
	}
}
