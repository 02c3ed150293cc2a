package link

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestValidate(t *testing.T) {
	sound := lab.Link{
		Delay: 25 * time.Millisecond, Jitter: time.Millisecond, Rate: 1_000_000, Queue: 30_000, Loss: 0.01, MTU: 1500,
		Burst: lab.Burst{Good: time.Second, Bad: 20 * time.Millisecond, Loss: 0.5},
	}
	if err := Validate(sound); err != nil {
		t.Fatal(err)
	}
	for _, extreme := range []func(*lab.Link){
		func(l *lab.Link) { l.Delay, l.Jitter = 0, 0 },
		func(l *lab.Link) { l.Delay, l.Jitter = MaxDelay, MaxDelay },
		func(l *lab.Link) { l.Loss, l.Burst.Loss = 0, 0 },
		func(l *lab.Link) { l.Loss, l.Burst.Loss = 1, 1 },
		func(l *lab.Link) { l.Rate, l.Queue = 0, 0 },
		func(l *lab.Link) { l.Rate, l.Queue = MinRate, l.MTU },
		func(l *lab.Link) { l.Rate, l.Queue = MaxRate, MaxQueue },
		func(l *lab.Link) { l.Burst.Good, l.Burst.Bad = MinPeriod, MinPeriod },
		func(l *lab.Link) { l.Burst.Good, l.Burst.Bad = MaxPeriod, MaxPeriod },
		func(l *lab.Link) { l.Burst = lab.Burst{Bad: MaxPeriod, Loss: 1} },
		func(l *lab.Link) { l.MTU = MinMTU },
		func(l *lab.Link) { l.MTU, l.Queue = MaxMTU, MaxMTU },
	} {
		l := sound
		extreme(&l)
		if err := Validate(l); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for _, c := range []struct {
		change        func(*lab.Link)
		field, values string // the value and the range
	}{
		{func(l *lab.Link) { l.Delay = -1 }, "delay", "-1ns from 0s to 10s"},
		{func(l *lab.Link) { l.Delay = MaxDelay + 1 }, "delay", "10.000000001s from 0s to 10s"},
		{func(l *lab.Link) { l.Jitter = -time.Second }, "jitter", "-1s from 0s to 10s"},
		{func(l *lab.Link) { l.Jitter = MaxDelay + 1 }, "jitter", "10.000000001s from 0s to 10s"},
		{func(l *lab.Link) { l.Loss = -0.1 }, "loss", "-0.1 from 0 to 1"},
		{func(l *lab.Link) { l.Loss = 1.5 }, "loss", "1.5 from 0 to 1"},
		{func(l *lab.Link) { l.Loss = math.NaN() }, "loss", "NaN from 0 to 1"},
		{func(l *lab.Link) { l.MTU = MinMTU - 1 }, "mtu", "1279 from 1280 to 65535 bytes"},
		{func(l *lab.Link) { l.MTU = MaxMTU + 1 }, "mtu", "65536 from 1280 to 65535 bytes"},
		{func(l *lab.Link) { l.Rate = -1 }, "rate", "-1 0 (no limit) or from 8000 to 100000000000 bit/s"},
		{func(l *lab.Link) { l.Rate = MinRate - 1 }, "rate", "7999 0 (no limit) or from 8000 to 100000000000 bit/s"},
		{func(l *lab.Link) { l.Rate = MaxRate + 1 }, "rate", "100000000001 0 (no limit) or from 8000 to 100000000000 bit/s"},
		{func(l *lab.Link) { l.Queue = 1499 }, "queue", "1499 from 1500 (the MTU) to 67108864 bytes if there is a rate"},
		{func(l *lab.Link) { l.Queue = MaxQueue + 1 }, "queue", "67108865 from 1500 (the MTU) to 67108864 bytes if there is a rate"},
		{func(l *lab.Link) { l.Rate, l.Queue = 0, -1 }, "queue", "-1 from 0 to 67108864 bytes"},
		{func(l *lab.Link) { l.Burst.Good = MinPeriod - 1 }, "burst.good", "999.999µs from 1ms to 1h0m0s"},
		{func(l *lab.Link) { l.Burst.Good = -1 }, "burst.good", "-1ns from 1ms to 1h0m0s"},
		{func(l *lab.Link) { l.Burst.Good = MaxPeriod + 1 }, "burst.good", "1h0m0.000000001s from 1ms to 1h0m0s"},
		{func(l *lab.Link) { l.Burst.Bad = 0 }, "burst.bad", "0s from 1ms to 1h0m0s"},
		{func(l *lab.Link) { l.Burst.Bad = MaxPeriod + 1 }, "burst.bad", "1h0m0.000000001s from 1ms to 1h0m0s"},
		{func(l *lab.Link) { l.Burst = lab.Burst{Bad: -1} }, "burst.bad", "-1ns from 0s to 1h0m0s"},
		{func(l *lab.Link) { l.Burst.Loss = 2 }, "burst.loss", "2 from 0 to 1"},
		{func(l *lab.Link) { l.Burst.Loss = math.Inf(1) }, "burst.loss", "+Inf from 0 to 1"},
	} {
		l := sound
		c.change(&l)
		var out *RangeError
		if !errors.As(Validate(l), &out) {
			t.Errorf("%s: %s was accepted", c.field, c.values)
			continue
		}
		if out.Field != c.field || out.Value+" "+out.Range != c.values {
			t.Errorf("got %s: %s %s, want %s: %s", out.Field, out.Value, out.Range, c.field, c.values)
		}
		if text := out.Error(); !strings.Contains(text, out.Field) || !strings.Contains(text, out.Value) || !strings.Contains(text, out.Range) {
			t.Errorf("%q does not say everything", text)
		}
	}
}
