package h2conn

import (
	"golang.org/x/net/http2"
)

// Settings is one side's settings at a moment: an immutable value.
type Settings struct {
	HeaderTableSize      uint32
	EnablePush           bool
	MaxConcurrentStreams uint32 // 2^32-1: no limit was given
	InitialWindowSize    uint32
	MaxFrameSize         uint32
	MaxHeaderListSize    uint32 // 2^32-1: no limit was given
	ConnectProtocol      bool   // ENABLE_CONNECT_PROTOCOL, RFC 8441
	NoRFC7540Priorities  bool   // RFC 9218

	other []http2.Setting // those of Config.KnownSettings and Config.Settings that were given
}

// Value returns an extension setting and whether it was ever given. The peer's
// are kept if Config.KnownSettings lists them.
func (s Settings) Value(id http2.SettingID) (uint32, bool) {
	for _, o := range s.other {
		if o.ID == id {
			return o.Val, true
		}
	}
	return 0, false
}
