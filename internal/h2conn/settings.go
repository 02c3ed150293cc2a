package h2conn

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/net/http2"
)

const (
	defaultInitialWindow = 65535
	defaultTableSize     = 4096
	minMaxFrameSize      = 1 << 14
	maxMaxFrameSize      = 1<<24 - 1

	settingEnableConnect http2.SettingID = 0x8 // RFC 8441, section 3
	settingNoPriorities  http2.SettingID = 0x9 // RFC 9218, section 2.1
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

	other []http2.Setting // never changed in place
}

// defaultSettings are in force before SETTINGS come (RFC 9113, section 6.5.2).
func defaultSettings() Settings {
	return Settings{
		HeaderTableSize:      defaultTableSize,
		EnablePush:           true,
		MaxConcurrentStreams: math.MaxUint32,
		InitialWindowSize:    defaultInitialWindow,
		MaxFrameSize:         minMaxFrameSize,
		MaxHeaderListSize:    math.MaxUint32,
	}
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

// with returns s with one more setting applied. Unknown ones are kept if keep
// says so.
func (s Settings) with(v http2.Setting, keep bool) Settings {
	switch v.ID {
	case http2.SettingHeaderTableSize:
		s.HeaderTableSize = v.Val
	case http2.SettingEnablePush:
		s.EnablePush = v.Val == 1
	case http2.SettingMaxConcurrentStreams:
		s.MaxConcurrentStreams = v.Val
	case http2.SettingInitialWindowSize:
		s.InitialWindowSize = v.Val
	case http2.SettingMaxFrameSize:
		s.MaxFrameSize = v.Val
	case http2.SettingMaxHeaderListSize:
		s.MaxHeaderListSize = v.Val
	case settingEnableConnect:
		s.ConnectProtocol = v.Val == 1
	case settingNoPriorities:
		s.NoRFC7540Priorities = v.Val == 1
	default:
		if !keep {
			return s
		}
		// A copy: older values of s share the slice.
		s.other = slices.Clone(s.other)
		if i := slices.IndexFunc(s.other, func(o http2.Setting) bool { return o.ID == v.ID }); i >= 0 {
			s.other[i] = v
		} else {
			s.other = append(s.other, v)
		}
	}
	return s
}

// checkSetting checks a received setting against the value before it. server
// tells who receives it, first whether it is in the first SETTINGS frame.
func (s Settings) checkSetting(v http2.Setting, server, first bool) *ConnError {
	bad := func(code http2.ErrCode) *ConnError {
		return &ConnError{Code: code, Reason: fmt.Sprintf("setting %#x = %d", uint16(v.ID), v.Val)}
	}
	switch v.ID {
	case http2.SettingEnablePush:
		// "A server MUST NOT explicitly set this value to 1": section 6.5.2.
		if v.Val > 1 || !server && v.Val == 1 {
			return bad(http2.ErrCodeProtocol)
		}
	case http2.SettingInitialWindowSize:
		if v.Val > maxWindow {
			return bad(http2.ErrCodeFlowControl)
		}
	case http2.SettingMaxFrameSize:
		if v.Val < minMaxFrameSize || v.Val > maxMaxFrameSize {
			return bad(http2.ErrCodeProtocol)
		}
	case settingEnableConnect:
		// "A sender MUST NOT send a SETTINGS_ENABLE_CONNECT_PROTOCOL parameter
		// with the value of 0 after previously sending a value of 1": RFC 8441.
		if v.Val > 1 || v.Val == 0 && s.ConnectProtocol {
			return bad(http2.ErrCodeProtocol)
		}
	case settingNoPriorities:
		// It "MUST NOT change" after the first SETTINGS: RFC 9218, section 2.1.
		if v.Val > 1 || !first && (v.Val == 1) != s.NoRFC7540Priorities {
			return bad(http2.ErrCodeProtocol)
		}
	}
	return nil
}

// localSettings lists what the configuration makes us announce.
func (c *Conn) localSettings() []http2.Setting {
	cfg := &c.cfg
	var out []http2.Setting
	add := func(id http2.SettingID, v uint32) { out = append(out, http2.Setting{ID: id, Val: v}) }
	if t := uint32(cfg.HeaderTableSize); t != defaultTableSize {
		add(http2.SettingHeaderTableSize, t)
	}
	if c.server {
		add(http2.SettingMaxConcurrentStreams, cfg.MaxConcurrentStreams)
	} else {
		add(http2.SettingEnablePush, 0)
	}
	add(http2.SettingInitialWindowSize, uint32(cfg.StreamWindow))
	if cfg.MaxFrameSize != minMaxFrameSize {
		add(http2.SettingMaxFrameSize, cfg.MaxFrameSize)
	}
	add(http2.SettingMaxHeaderListSize, cfg.MaxHeaderListSize)
	if c.server && cfg.ConnectProtocol {
		add(settingEnableConnect, 1)
	}
	// RFC 7540 priorities are ignored, and the peer is told so.
	add(settingNoPriorities, 1)
	return append(out, cfg.Settings...)
}

// queueSettingsLocked has a SETTINGS frame sent. What the peer may do is widened
// at once; what it must no longer do binds it when it acknowledges.
func (c *Conn) queueSettingsLocked(list []http2.Setting) {
	for _, v := range list {
		c.local = c.local.with(v, true)
	}
	c.settingsOut = append(c.settingsOut, list)
	c.settingsSent = append(c.settingsSent, c.local)
	c.resizeStreamsLocked()
	c.wakeLocked()
}

// resizeStreamsLocked sets the receive windows by the largest INITIAL_WINDOW_SIZE
// that the peer may still believe in: "a receiver of flow-controlled frames MUST
// be prepared" for data sent before the change was seen (section 6.9.3).
func (c *Conn) resizeStreamsLocked() {
	size := c.acked.InitialWindowSize
	for _, s := range c.settingsSent {
		size = max(size, s.InitialWindowSize)
	}
	delta := int64(size) - c.recvInitial
	if delta == 0 {
		return
	}
	c.recvInitial = int64(size)
	for _, s := range c.streams {
		s.recv.resize(delta)
	}
}

// UpdateSettings sends another SETTINGS frame. MAX_FRAME_SIZE, HEADER_TABLE_SIZE
// and MAX_HEADER_LIST_SIZE cannot be changed. At most 16 frames may wait for
// their acknowledgement.
func (c *Conn) UpdateSettings(list ...http2.Setting) error {
	for _, v := range list {
		switch v.ID {
		case http2.SettingMaxFrameSize, http2.SettingHeaderTableSize, http2.SettingMaxHeaderListSize:
			return fmt.Errorf("h2conn: setting %v is fixed by Config", v.ID)
		case http2.SettingInitialWindowSize:
			if v.Val > maxWindow {
				return fmt.Errorf("h2conn: setting %v is too large", v.ID)
			}
		case settingEnableConnect:
			// H2-008: never taken back.
			if v.Val != 1 || !c.server {
				return fmt.Errorf("h2conn: ENABLE_CONNECT_PROTOCOL can only be raised, by a server")
			}
		}
	}
	c.mu.Lock()
	defer c.unlock()
	if c.phase == phaseEnding {
		return c.err
	}
	if len(c.settingsSent) >= maxUnackedSettings {
		return fmt.Errorf("h2conn: %d SETTINGS frames are not acknowledged", len(c.settingsSent))
	}
	c.queueSettingsLocked(slices.Clone(list))
	return nil
}

const maxUnackedSettings = 16

// SettingsReceived is closed when the peer's first SETTINGS were processed: never,
// if the connection ends before (see Done).
func (c *Conn) SettingsReceived() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settingsIn.Done()
}

// PeerSettings returns the peer's latest settings, and whether any came.
func (c *Conn) PeerSettings() (Settings, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer, c.peerSettled
}

// LocalSettings returns the settings we have sent last, or are about to send.
func (c *Conn) LocalSettings() Settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// AckedSettings returns those of our settings that the peer has acknowledged.
func (c *Conn) AckedSettings() Settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked
}
