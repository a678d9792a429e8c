package usage

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// MAC is a device's 48-bit hardware address. The zero MAC is what nlbwmon
// stores when it finds no neighbour entry: it is no device.
type MAC [6]byte

// ParseMAC reads six hexadecimal bytes separated by colons or hyphens, in
// either case, with blanks around them ignored.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	t := strings.TrimSpace(s)
	if len(t) != 17 {
		return m, Errorf(Invalid, "%q is not a MAC address like 02:77:00:00:00:11", Clean(s, 64))
	}
	sep := t[2]
	for i := range m {
		if i > 0 && t[3*i-1] != sep || sep != ':' && sep != '-' {
			return MAC{}, Errorf(Invalid, "%q is not a MAC address like 02:77:00:00:00:11", Clean(s, 64))
		}
		if _, err := hex.Decode(m[i:i+1], []byte(t[3*i:3*i+2])); err != nil {
			return MAC{}, Errorf(Invalid, "%q is not a MAC address like 02:77:00:00:00:11", Clean(s, 64))
		}
	}
	return m, nil
}

// IsZero tells whether m is 00:00:00:00:00:00.
func (m MAC) IsZero() bool { return m == MAC{} }

// Randomized tells whether the locally administered bit is set (IEEE 802-2014
// section 8.4): such an address has no vendor and may change at will.
func (m MAC) Randomized() bool { return m[0]&0x02 != 0 }

// String prints m in lower case with colons.
func (m MAC) String() string { return string(m.Append(nil)) }

// Append appends m to dst in lower case with colons.
func (m MAC) Append(dst []byte) []byte {
	const digits = "0123456789abcdef"
	for i, b := range m {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, digits[b>>4], digits[b&0x0f])
	}
	return dst
}

// MarshalText makes m a string in JSON.
func (m MAC) MarshalText() ([]byte, error) { return m.Append(nil), nil }

// UnmarshalText is ParseMAC for JSON.
func (m *MAC) UnmarshalText(text []byte) error {
	p, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = p
	return nil
}

// RouterID names a router: the lower-case hexadecimal SHA-256 of the text of
// its LAN bridge's hardware address. It is public and proves nothing.
type RouterID string

// ParseRouterID accepts exactly 64 lower-case hexadecimal digits.
func ParseRouterID(s string) (RouterID, error) {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", Errorf(Invalid, "%q is not a router id (64 lower-case hexadecimal digits)", Clean(s, 80))
	}
	return RouterID(s), nil
}

// Short is the id's first twelve digits, for tables and logs.
func (id RouterID) Short() string {
	if len(id) <= 12 {
		return string(id)
	}
	return fmt.Sprintf("%s…", string(id[:12]))
}
