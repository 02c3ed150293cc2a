package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
)

// percentages are shares, written in percent: 0.5,1,2.
type percentages []float64

func (p *percentages) UnmarshalText(text []byte) error {
	*p = nil
	for word := range strings.SplitSeq(string(text), ",") {
		share, err := parsePercent(word, maxLoss)
		if err != nil {
			return err
		}
		if slices.Contains(*p, share) {
			return fmt.Errorf("%s is there twice", word)
		}
		*p = append(*p, share)
	}
	return nil
}

// parsePercent turns 2 or 2% into 0.02. The share may be most.
func parsePercent(word string, most float64) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(word), "%"), 64)
	if err != nil || math.IsNaN(v) {
		return 0, fmt.Errorf("%q is no number of percent, as 0.5 is", word)
	}
	if v < 0 || v > 100*most {
		return 0, fmt.Errorf("%s is not from 0 to %g percent", word, 100*most)
	}
	return v / 100, nil
}

// burst is a mean good period, a mean bad period and a loss in percent.
type burst struct {
	good, bad time.Duration
	loss      float64
}

func (b *burst) UnmarshalText(text []byte) error {
	words := strings.Split(string(text), ",")
	if len(words) != 3 {
		return fmt.Errorf("%q is not GOOD,BAD,PERCENT, as 1s,20ms,100 is", text)
	}
	var err error
	for i, to := range []*time.Duration{&b.good, &b.bad} {
		if *to, err = time.ParseDuration(strings.TrimSpace(words[i])); err != nil {
			return fmt.Errorf("%q is no time, as 20ms is", words[i])
		}
	}
	b.loss, err = parsePercent(words[2], 1)
	return err
}

// size is a number of bytes: 200, 64k (1,000 each), 64Ki (1,024 each).
type size int

func (s *size) UnmarshalText(text []byte) error {
	v, err := parseScaled(string(text), "bytes, as 200, 64k or 1M")
	*s = size(v)
	return err
}

// rate is a number of bits per second: 500k, 1.5M, 1G.
type rate int64

func (r *rate) UnmarshalText(text []byte) error {
	v, err := parseScaled(string(text), "bits a second, as 500k or 10M")
	*r = rate(v)
	return err
}

// most is the largest number that parseScaled takes.
const most = 1e12

func parseScaled(word, what string) (int64, error) {
	number := word
	scale := 1.0
	for _, unit := range []struct {
		suffix string
		scale  float64
	}{
		{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9},
	} {
		if rest, ok := strings.CutSuffix(word, unit.suffix); ok {
			number, scale = rest, unit.scale
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0 && v*scale <= most) {
		return 0, fmt.Errorf("%q is no number of %s", word, what)
	}
	return int64(math.Round(v * scale)), nil
}

// objects are sizes: 24x4k,1x64k.
type objects []int

// maxObjects bounds how many objects a page has.
const maxObjects = workload.MaxObjects

func (o *objects) UnmarshalText(text []byte) error {
	*o = nil
	for word := range strings.SplitSeq(string(text), ",") {
		n := 1
		count, length, ok := strings.Cut(word, "x")
		if !ok {
			length = word
		} else if v, err := strconv.Atoi(count); err != nil || v < 1 || v > maxObjects {
			return fmt.Errorf("%q is not NxSIZE with N from 1 to %d, as 24x4k is", word, maxObjects)
		} else {
			n = v
		}
		v, err := parseScaled(length, "bytes, as 24x4k has")
		if err != nil {
			return err
		}
		if len(*o)+n > maxObjects {
			return fmt.Errorf("a page has from 1 to %d objects", maxObjects)
		}
		*o = append(*o, slices.Repeat([]int{int(v)}, n)...)
	}
	return nil
}

// target is a file, or standard output: --json, --json - and --json FILE.
type target struct {
	given bool
	file  string // "" for standard output
}

func (t *target) IsBool() bool { return true }

// Decode takes the next word if there is one that is no flag.
func (t *target) Decode(ctx *kong.DecodeContext) error {
	next := ctx.Scan.Peek()
	word := next.String()
	switch {
	case next.Type == kong.FlagValueToken,
		next.Type == kong.UntypedToken && (word == "-" || !strings.HasPrefix(word, "-")):
		ctx.Scan.Pop()
		if word == "" {
			return fmt.Errorf("there is no file name")
		}
	default:
		word = "-"
	}
	t.given = true
	t.file = word
	if word == "-" {
		t.file = ""
	}
	return nil
}
