// Package qlog has a place for the events of sessions: a directory with a file for
// each session.
//
//	dir, err := qlog.NewDir("/var/tmp/sessions")
//	server.Config = &transport.Config{Qlog: dir}
//
// The files are JSON text sequences (RFC 7464) after
// draft-ietf-quic-qlog-main-schema; docs/watching.md lists the events. They hold
// addresses and the reasons that applications give for closing, but no stream data,
// no datagrams and no headers.
package qlog
