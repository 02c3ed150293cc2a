package negotiate

import (
	"context"
	"log/slog"
	"time"
)

// Trace is a set of functions that are called at events of a Dialer. Any may be
// nil. They must not block, nor call the Dialer.
type Trace struct {
	// Attempt is called at each change of an attempt, also after Dial has
	// returned, for attempts that linger.
	Attempt func(a Attempt)
	// Marked is called when UDP to a server is marked broken.
	Marked func(hostport string, until time.Time)
	// Cleared is called when HTTP/3 was found to work.
	Cleared func(hostport string)
	// Probed is called when a background probe ended; err is nil if HTTP/3 works.
	Probed func(hostport string, err error)
}

// logDial says how a Dial went.
func (d *Dialer) logDial(ctx context.Context, r *Report) {
	if d.Logger == nil || !d.Logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("transport", r.Winner.String()),
		slog.String("outcome", r.outcome(ctx.Err())),
		slog.Duration("elapsed", r.Elapsed),
		slog.String("memory", r.Memory.String()),
	}
	for _, f := range r.Fallbacks() {
		attrs = append(attrs, slog.String("fallback_"+f.Protocol.String(), f.Reason))
	}
	for _, a := range r.Attempts {
		attrs = append(attrs, slog.String(a.Protocol.String()+"_"+a.Network, a.describe()))
	}
	if r.Err != nil {
		attrs = append(attrs, slog.Any("error", r.Err))
	}
	d.Logger.LogAttrs(context.Background(), slog.LevelDebug, "dial", attrs...)
}
