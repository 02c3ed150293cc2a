package handshake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Names of the header fields, in the form that [http.Header] uses.
const (
	AvailableProtocols = "Wt-Available-Protocols"
	SelectedProtocol   = "Wt-Protocol"
	InitField          = "Webtransport-Init"
	OriginField        = "Origin"
	CapsuleProtocol    = "Capsule-Protocol"
	TowpathField       = "Towpath"
)

// Bounds on a structured field from the peer. A longer one is not parsed.
const (
	MaxFieldSize = 16 << 10 // bytes of all its lines together
	MaxMembers   = 128      // members of a list or dictionary
	MaxProtocol  = 512      // bytes of an application protocol's name
)

// AlpnError is WT_ALPN_ERROR, the code of draft-ietf-webtrans-http3 for a failed
// application protocol negotiation. HTTP/2 has no number of its own for it and
// uses the same in WT_CLOSE_SESSION.
const AlpnError = 0x0817b3dd

// CheckProtocols checks a list of application protocols that the application
// gave: each 1 to 512 bytes of printable ASCII (all an SF String can hold), none
// twice, at most [MaxMembers].
func CheckProtocols(protocols []string) error {
	if len(protocols) > MaxMembers {
		return fmt.Errorf("%d application protocols, at most %d are possible", len(protocols), MaxMembers)
	}
	for i, p := range protocols {
		if len(p) == 0 || len(p) > MaxProtocol {
			return fmt.Errorf("application protocol %d has %d bytes, 1 to %d are possible", i, len(p), MaxProtocol)
		}
		for _, c := range []byte(p) {
			if c < 0x20 || c > 0x7e {
				return fmt.Errorf("application protocol %q is not printable ASCII", p)
			}
		}
		if slices.Contains(protocols[:i], p) {
			return fmt.Errorf("application protocol %q is listed twice", p)
		}
	}
	return nil
}

// FormatProtocols is the value of WT-Available-Protocols: a List of Strings,
// most preferred first. The protocols have passed [CheckProtocols].
func FormatProtocols(protocols []string) string {
	var b strings.Builder
	for i, p := range protocols {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(FormatProtocol(p))
	}
	return b.String()
}

// FormatProtocol is the value of WT-Protocol: one String.
func FormatProtocol(protocol string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(protocol) {
		if c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

// FormatBareProtocol is the value of WT-Protocol for a client that takes the value
// as it stands for the protocol: a Token, as in the drafts before 13 of
// WebTransport over HTTP/3. It is a String if the protocol is no Token.
func FormatBareProtocol(protocol string) string {
	if v, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(protocol))); err == nil {
		return v
	}
	return FormatProtocol(protocol)
}

// ParseAvailableProtocols reads the lines of WT-Available-Protocols. A member
// that is not a String, anything that does not parse, and a field over the
// bounds make the whole field count as absent (draft-ietf-webtrans-http3
// "Application Protocol Negotiation": "MUST be ignored"). Parameters are
// ignored. Nil means that nothing usable was offered.
func ParseAvailableProtocols(lines []string) []string { return parseOffers[string](lines) }

// ParseAvailableTokens is ParseAvailableProtocols for the drafts before 13 of
// WebTransport over HTTP/3, whose members are Tokens.
func ParseAvailableTokens(lines []string) []string { return parseOffers[httpsfv.Token](lines) }

func parseOffers[T ~string](lines []string) []string {
	if tooLong(lines) {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil || len(list) > MaxMembers {
		return nil
	}
	var protocols []string
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(T)
		if !ok {
			return nil
		}
		protocols = append(protocols, string(s))
	}
	return protocols
}

// ParseProtocol reads the lines of WT-Protocol. A field that is not a String,
// parameters apart, counts as absent: ok is false.
func ParseProtocol(lines []string) (protocol string, ok bool) {
	if len(lines) == 0 || tooLong(lines) {
		return "", false
	}
	item, err := httpsfv.UnmarshalItem(lines)
	if err != nil {
		return "", false
	}
	protocol, ok = item.Value.(string)
	return protocol, ok
}

// SelectProtocol returns the first of the client's offers that the server
// speaks, or "" if there is none.
func SelectProtocol(offers, supported []string) string {
	for _, o := range offers {
		if o != "" && slices.Contains(supported, o) {
			return o
		}
	}
	return ""
}

// IsBareProtocol reports whether the lines of WT-Protocol, which ParseProtocol did
// not accept, are one of the protocols without the quotes of a String: drafts
// before 13 of WebTransport over HTTP/3 had Tokens, and there is software that
// sends the bare text.
func IsBareProtocol(lines, offered []string) (protocol string, ok bool) {
	if len(lines) != 1 {
		return "", false
	}
	text := strings.Trim(lines[0], " \t")
	if text == "" || !slices.Contains(offered, text) {
		return "", false
	}
	return text, true
}

// Init is the WebTransport-Init field (draft-ietf-webtrans-http2 "Flow Control
// Header Field"): initial limits on stream data, in bytes, that its sender
// grants to its receiver. An item that is not given is 0.
type Init struct {
	Uni        uint64 // u: unidirectional streams opened by the receiver of the field
	BidiLocal  uint64 // bl: bidirectional streams opened by the sender of the field
	BidiRemote uint64 // br: bidirectional streams opened by the receiver of the field
	// Towpath is our own key, which others ignore like every unknown one:
	// towpath=1 offers to speak draft 15 exactly if the receiver is a Towpath
	// endpoint that says so too, see [FormatTowpath]. Any other value means
	// nothing.
	Towpath bool
}

// maxInteger is the largest Integer of a structured field.
const maxInteger = 999_999_999_999_999

// String is the field's value. A limit above what an Integer can hold is cut.
func (i Init) String() string {
	n := func(v uint64) string { return strconv.FormatUint(min(v, maxInteger), 10) }
	s := "u=" + n(i.Uni) + ", bl=" + n(i.BidiLocal) + ", br=" + n(i.BidiRemote)
	if i.Towpath {
		s += ", towpath=1"
	}
	return s
}

// ParseInit reads the lines of WebTransport-Init. Unknown keys and all
// parameters are ignored. A field that is no Dictionary, one of the three keys
// with anything but a non-negative Integer, and a field over the bounds are
// errors, which a server answers with a 4xx status. No lines are a zero Init.
func ParseInit(lines []string) (Init, error) {
	var init Init
	if len(lines) == 0 {
		return init, nil
	}
	if tooLong(lines) {
		return init, fmt.Errorf("WebTransport-Init is longer than %d bytes", MaxFieldSize)
	}
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return init, fmt.Errorf("WebTransport-Init is no Dictionary: %w", err)
	}
	if len(d.Names()) > MaxMembers {
		return init, fmt.Errorf("WebTransport-Init has more than %d members", MaxMembers)
	}
	keys := [...]string{"u", "bl", "br"}
	for i, limit := range [...]*uint64{&init.Uni, &init.BidiLocal, &init.BidiRemote} {
		key := keys[i]
		m, ok := d.Get(key)
		if !ok {
			continue
		}
		item, ok := m.(httpsfv.Item)
		if !ok {
			return Init{}, fmt.Errorf("WebTransport-Init: %s is an inner list", key)
		}
		n, ok := item.Value.(int64)
		if !ok || n < 0 {
			return Init{}, fmt.Errorf("WebTransport-Init: %s is no non-negative Integer", key)
		}
		*limit = uint64(n)
	}
	if m, ok := d.Get("towpath"); ok {
		item, ok := m.(httpsfv.Item)
		init.Towpath = ok && item.Value == int64(1)
	}
	return init, nil
}

// FormatTowpath is the value of the Towpath field, by which a server answers
// towpath=1 in WebTransport-Init: an Integer. Both sides then speak draft 15.
func FormatTowpath() string { return "1" }

// ParseTowpath reports whether the lines of the Towpath field are that answer.
// Anything else means nothing.
func ParseTowpath(lines []string) bool {
	if len(lines) == 0 || tooLong(lines) {
		return false
	}
	item, err := httpsfv.UnmarshalItem(lines)
	return err == nil && item.Value == int64(1)
}

func tooLong(lines []string) bool {
	n := 0
	for _, l := range lines {
		n += len(l) + 2
	}
	return n > MaxFieldSize
}
