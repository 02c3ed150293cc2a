package main

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// A limitRow is one limit of the document. Defaults are made from what the
// packages export, so that they cannot differ from what is in force.
type limitRow struct {
	limit   transport.Limit
	def     string
	field   string // where it is set
	beyond  string // what happens to what is beyond it
	because string
}

// limitRows has a row for every transport.Limit; a test compares.
var limitRows = []limitRow{
	{transport.LimitConnections, count(h2wt.DefaultMaxConnections),
		"`negotiate.Server.MaxConnections`, `h2wt.ConnectionLimits`",
		"TCP closed before TLS, QUIC answered CONNECTION_REFUSED; nobody who is there has to go",
		"a connection costs descriptors, handshakes and some 100 KiB"},
	{transport.LimitConnectionsPerAddress, count(h2wt.DefaultMaxConnectionsPerAddress),
		"`MaxConnectionsPerAddress` of the same",
		"as above",
		"one client must not take all; a school or a mobile network may be behind one address. IPv6 counts by /64"},
	{transport.LimitConnectionRate, rate(h2wt.DefaultConnectionRate, 2*h2wt.DefaultConnectionRate),
		"`ConnectionRate` of the same",
		"as above",
		"a TLS handshake costs about a millisecond of CPU"},
	{transport.LimitSessions, fmt.Sprintf("%s; %s in a `wswt.Server` of its own", count(negotiate.DefaultMaxSessions), count(wswt.DefaultMaxSessions)),
		"`negotiate.Server.MaxSessions`, `wswt.Config.MaxSessions`",
		"429 with Retry-After",
		"a session costs some KiB while it is quiet"},
	{transport.LimitSessionsPerAddress, fmt.Sprintf("%s; %s in a `wswt.Server` of its own", count(negotiate.DefaultMaxSessionsPerAddress), count(wswt.DefaultMaxSessionsPerAddress)),
		"`MaxSessionsPerAddress` of the same",
		"429 with Retry-After",
		"one client must not take all"},
	{transport.LimitSessionsPerConnection, fmt.Sprintf("%d over HTTP/2, %d over HTTP/3, 1 on a WebSocket", h2wt.DefaultMaxSessions, h3wt.DefaultMaxSessions),
		"`h2wt.Config.MaxSessions`, `h3wt.Config.MaxSessions`",
		"429 over HTTP/2, H3_REQUEST_REJECTED over HTTP/3",
		"pooling needs some; each has windows of its own"},
	{transport.LimitSessionRate, fmt.Sprintf("%s for an address; %s for an HTTP/3 connection",
		rate(negotiate.DefaultSessionRate, 2*negotiate.DefaultSessionRate), rate(h3wt.DefaultSessionRate, 2*h3wt.DefaultSessionRate)),
		"`negotiate.Server.SessionRate`, `wswt.Config.SessionRate`, `h3wt.Config.SessionRate`",
		"429 with Retry-After",
		"a request starts a handler"},
	{transport.LimitRequests, fmt.Sprintf("%d streams of a connection over HTTP/2, %d requests over HTTP/3", h2wt.DefaultMaxConcurrentStreams, h3wt.DefaultMaxRequests),
		"`h2wt.Config.MaxConcurrentStreams`, `h3wt.Config.MaxRequests`",
		"REFUSED_STREAM, H3_REQUEST_REJECTED. A handler counts until it has returned, whatever became of its stream",
		"rapid reset: a stream that was reset must not make room while its handler runs"},
	{transport.LimitHandshakeTime, fmt.Sprintf("10 s for TLS and for the first SETTINGS, %s for those of HTTP/3, 5 s for QUIC", seconds(h3wt.DefaultSettingsTimeout)),
		"`negotiate.Server.ReadHeaderTimeout`, `h2wt.Config.PrefaceTimeout`, `wswt.Config.HandshakeTimeout`, `h3wt.Config.SettingsTimeout`",
		"the connection is closed",
		"slow handshakes hold descriptors"},
	{transport.LimitHeaderTime, fmt.Sprintf("10 s over TCP, %s over HTTP/3", seconds(h3wt.DefaultEarlyTimeout)),
		"`h2wt.Config.HeaderTimeout`, `negotiate.Server.ReadHeaderTimeout`, `h3wt.Config.EarlyTimeout`",
		"the connection is closed; over HTTP/3 the stream is reset",
		"slowloris"},
	{transport.LimitHeaderSize, fmt.Sprintf("%d KiB with 32 bytes for each field, 512 fields over HTTP/2, 16 CONTINUATION frames", h3wt.DefaultMaxHeaderBytes>>10),
		"`h2wt.Config.MaxHeaderBytes`, `h3wt.Config.MaxHeaderBytes`, `negotiate.Server.MaxHeaderBytes`",
		"431, or ENHANCE_YOUR_CALM on the connection where reading on is not worth it",
		"HPACK bombs: what a small block expands to is counted while it is decoded"},
	{transport.LimitUpgradeTime, seconds(h2wt.DefaultUpgradeTimeout),
		"`h2wt.Config.UpgradeTimeout`, `h3wt.Config.UpgradeTimeout`",
		"503 over HTTP/2, over HTTP/3 the stream is reset; the request's context ends",
		"a handler that does not decide holds what the client sent early"},
	{transport.LimitConnectionIdle, seconds(h3wt.DefaultIdleTimeout),
		"`h2wt.Config.IdleTimeout`, `h3wt.Config.IdleTimeout`, `negotiate.Server.IdleTimeout`",
		"the connection is closed",
		"connections without streams are worth nothing"},
	{transport.LimitWriteTime, seconds(wswt.DefaultWriteTimeout),
		"`h2wt.Config.WriteTimeout`, `wswt.Config.WriteTimeout`",
		"the connection is closed",
		"a peer that reads nothing holds what was written for it"},
	{transport.LimitCloseTime, seconds(transport.DefaultCloseTimeout),
		"`transport.Config.CloseTimeout`",
		"the WebSocket's connection is closed; behind a Close frame that blames the peer also after 1 MiB that it goes on sending",
		"a Close frame that is never answered"},
	{transport.LimitPingTime, fmt.Sprintf("asked after %s, answered within %s", seconds(wswt.DefaultKeepAlive), seconds(wswt.DefaultPingTimeout)),
		"`KeepAlive`, `PingTimeout` of `h2wt.Config` and `wswt.Config`; QUIC: `quic.Config.MaxIdleTimeout`, 30 s",
		"the connection is closed",
		"peers vanish without a word"},
	{transport.LimitMemory, fmt.Sprintf("%d MiB a connection, %d MiB a server", h2wt.DefaultMaxConnectionMemory>>20, h2wt.DefaultMaxServerMemory>>20),
		"`MaxConnectionMemory` of each; `negotiate.Server.MaxMemory`",
		"no new credit; the newest session of those holding most ends with ENHANCE_YOUR_CALM, H3_EXCESSIVE_LOAD, status 1008",
		"see above; bytes held are counted, not credit. HTTP/3 counts the credit of QUIC's windows, and has half of `MaxMemory` for itself beside TCP"},
	{transport.LimitFrames, rate(h2conn.DefaultGlitches.PerSecond, h2conn.DefaultGlitches.Burst),
		"`h2wt.Config.Glitches`",
		"reading pauses for 5 ms after each 320 that come faster; then ENHANCE_YOUR_CALM on the connection",
		"empty DATA and CONTINUATION, PING, SETTINGS, PRIORITY, unknown types, small window updates; a header list over the limits counts as 32"},
	{transport.LimitFrameSize, fmt.Sprintf("16 KiB a frame, %d entries of SETTINGS", h2conn.DefaultMaxSettings),
		"fixed",
		"FRAME_SIZE_ERROR or ENHANCE_YOUR_CALM on the connection",
		"what RFC 9113 lets a receiver say"},
	{transport.LimitStreamResets, rate(h2conn.DefaultResets.PerSecond, h2conn.DefaultResets.Burst),
		"`h2wt.Config.StreamResets`; over HTTP/3 of the size of `transport.Config.Floods.Resets`",
		"over HTTP/2 reading pauses for 5 ms after each 32 that come faster; then ENHANCE_YOUR_CALM, H3_EXCESSIVE_LOAD on the connection",
		"rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671): resets that the peer makes or causes; a stream that ends normally gives one back"},
	{transport.LimitReplies, count(h2conn.DefaultMaxQueuedControl) + " waiting",
		"fixed",
		"ENHANCE_YOUR_CALM on the connection",
		"PING and SETTINGS acknowledgements and resets for a peer that does not read"},
	{transport.LimitMessageSize, fmt.Sprintf("%d MiB", wswt.DefaultMaxMessageSize>>20),
		"`wswt.Config.MaxMessageSize`",
		"status 1009",
		"nothing is held for the rest of a message, but a bound keeps middleboxes honest"},
	{transport.LimitEarlyStreams, fmt.Sprintf("%d streams, %s", h3wt.DefaultMaxEarlyStreams, seconds(h3wt.DefaultEarlyTimeout)),
		"`h3wt.Config.MaxEarlyStreams`, `EarlyTimeout`",
		"the stream is reset with WT_BUFFERED_STREAM_REJECTED",
		"QUIC may deliver a stream before the request that it belongs to"},
	{transport.LimitSessionIdle, "none",
		"`transport.Config.IdleTimeout`",
		"closed with code 0 and \"idle\"",
		"only the application knows how long silence is fine"},
	{transport.LimitCapsules, rate(sessionstate.DefaultFloods.Glitches.PerSecond, sessionstate.DefaultFloods.Glitches.Burst),
		"`transport.Config.Floods.Glitches`",
		"WT_ERROR: the session is reset",
		"empty WT_STREAM, PADDING, unknown and repeated capsules; 256 bytes of data give one back"},
	{transport.LimitControl, rate(sessionstate.DefaultFloods.Control.PerSecond, sessionstate.DefaultFloods.Control.Burst),
		"`transport.Config.Floods.Control`",
		"WT_ERROR: the session is reset",
		"limits raised by one; what this side sends gives some back, since a peer that reads has to return credit"},
	{transport.LimitAborts, rate(sessionstate.DefaultFloods.Resets.PerSecond, sessionstate.DefaultFloods.Resets.Burst),
		"`transport.Config.Floods.Resets`",
		"ENHANCE_YOUR_CALM, H3_EXCESSIVE_LOAD: the session is reset",
		"streams reset or stopped; one that ends cleanly gives one back"},
	{transport.LimitTinyDatagrams, rate(sessionstate.DefaultFloods.TinyDatagrams.PerSecond, sessionstate.DefaultFloods.TinyDatagrams.Burst),
		"`transport.Config.Floods.TinyDatagrams`",
		"WT_ERROR: the session is reset",
		"over TCP a datagram of a few bytes costs more than it brings"},
	{transport.LimitDatagramRate, "none",
		"`transport.Config.IncomingDatagramRate`",
		"dropped and counted",
		"a quota for the application to set"},
	{transport.LimitByteRate, "none",
		"`transport.Config.IncomingByteRate`",
		"credit is withheld; nothing is lost",
		"a quota for the application to set"},
	{transport.LimitFlowControl, fmt.Sprintf("%d streams of each kind, %d KiB to %d MiB a stream, %d to %d MiB a session", transport.DefaultMaxIncomingStreams,
		transport.DefaultInitialStreamWindow>>10, transport.DefaultMaxStreamWindow>>20, transport.DefaultInitialSessionWindow>>20, transport.DefaultMaxSessionWindow>>20),
		"`MaxIncomingStreams`, `InitialStreamWindow` ... of `transport.Config`",
		"WT_FLOW_CONTROL_ERROR: the session is reset",
		"the protocol's own windows; a peer that oversteps them is broken or hostile"},
}

func count[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func seconds(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

func rate[T int | int64](perSecond, burst T) string {
	return fmt.Sprintf("%s a second, burst %s", count(perSecond), count(burst))
}

func limitsTable() string {
	var b bytes.Buffer
	b.WriteString("\n| limit | default | set by | beyond it | why |\n|---|---|---|---|---|\n")
	for _, r := range limitRows {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.limit, cell(r.def), r.field, cell(r.beyond), cell(r.because))
	}
	b.WriteString("\n")
	return b.String()
}
