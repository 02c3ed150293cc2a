package adapter

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/pion/logging"
)

// logTo is l, or silence.
func logTo(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// standardLog is for net/http, which otherwise writes to standard error.
func standardLog(l *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logTo(l).Handler(), slog.LevelWarn)
}

// pionLog gives pion's log, which otherwise follows variables of the environment
// and goes to standard error, to a slog.Logger. Its levels count one less: pion
// warns of what belongs to every connection's beginning and end.
type pionLog struct{ to *slog.Logger }

// pionDebug and pionTrace are pion's lowest levels, for what single packets do.
const (
	pionDebug = slog.LevelDebug - 4
	pionTrace = pionDebug - 4
)

func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.to.With("pion", scope)}
}

func (p pionLog) log(level slog.Level, message string) {
	p.to.Log(context.Background(), level, message)
}

// logf formats only what is wanted: pion traces every packet.
func (p pionLog) logf(level slog.Level, format string, args ...any) {
	if p.to.Enabled(context.Background(), level) {
		p.log(level, fmt.Sprintf(format, args...))
	}
}

func (p pionLog) Trace(m string)                 { p.log(pionTrace, m) }
func (p pionLog) Debug(m string)                 { p.log(pionDebug, m) }
func (p pionLog) Info(m string)                  { p.log(slog.LevelDebug, m) }
func (p pionLog) Warn(m string)                  { p.log(slog.LevelInfo, m) }
func (p pionLog) Error(m string)                 { p.log(slog.LevelWarn, m) }
func (p pionLog) Tracef(format string, a ...any) { p.logf(pionTrace, format, a...) }
func (p pionLog) Debugf(format string, a ...any) { p.logf(pionDebug, format, a...) }
func (p pionLog) Infof(format string, a ...any)  { p.logf(slog.LevelDebug, format, a...) }
func (p pionLog) Warnf(format string, a ...any)  { p.logf(slog.LevelInfo, format, a...) }
func (p pionLog) Errorf(format string, a ...any) { p.logf(slog.LevelWarn, format, a...) }
