package qlog

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// eventSchema names the events of this package. It is no registered schema:
// docs/watching.md is its description.
const eventSchema = "https://github.com/towpath-go/towpath/blob/main/docs/watching.md#qlog"

// appendRecord appends a JSON text as a record (RFC 7464 section 2.2).
func appendRecord(b []byte, text []byte) []byte {
	b = append(b, 0x1e)
	b = append(b, text...)
	return append(b, '\n')
}

// appendHeader appends the first record: draft-ietf-quic-qlog-main-schema
// "QlogFileSeq". Times of events are milliseconds on a monotonic clock since began.
func appendHeader(b []byte, side transport.Side, began time.Time) []byte {
	clock := object{}.text("clock_type", "monotonic").text("epoch", "unknown").
		text("wall_clock_time", began.UTC().Format(time.RFC3339Nano))
	trace := object{}.
		nested("common_fields", object{}.text("time_format", "relative_to_epoch").nested("reference_time", clock)).
		nested("vantage_point", object{}.text("name", "towpath").text("type", side.String())).
		raw("event_schemas", `["`+eventSchema+`"]`)
	return appendRecord(b, object{}.
		text("file_schema", "urn:ietf:params:qlog:file:sequential").
		text("serialization_format", "application/qlog+json-seq").
		nested("trace", trace).end())
}

func appendEvent(b []byte, now time.Duration, name string, data object) []byte {
	return appendRecord(b, object{}.millis("time", now).text("name", Namespace+":"+name).nested("data", data).end())
}

// An object is the beginning of a JSON object. The zero object is empty.
type object []byte

func (o object) key(k string) object {
	if len(o) == 0 {
		o = append(o, '{')
	} else {
		o = append(o, ',')
	}
	o = append(o, '"')
	o = append(o, k...)
	return append(o, '"', ':')
}

func (o object) raw(k, v string) object { return append(o.key(k), v...) }

// text adds a string. Invalid UTF-8 in it becomes U+FFFD.
func (o object) text(k, v string) object {
	quoted, _ := json.Marshal(v) // a string has no error
	return append(o.key(k), quoted...)
}

func (o object) number(k string, v uint64) object { return strconv.AppendUint(o.key(k), v, 10) }

// millis adds a duration in milliseconds.
func (o object) millis(k string, d time.Duration) object {
	return strconv.AppendFloat(o.key(k), float64(d)/float64(time.Millisecond), 'f', 3, 64)
}

func (o object) nested(k string, v object) object { return append(o.key(k), v.end()...) }

// end returns the whole object.
func (o object) end() []byte {
	if len(o) == 0 {
		return []byte("{}")
	}
	return append(o, '}')
}
