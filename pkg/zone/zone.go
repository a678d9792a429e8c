// Package zone is time as a router's owner counts it: zones by POSIX rules,
// which is all a router has, and the days and slots of a zone.
package zone

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// noZone is the name of the zone that stands before the footer takes effect;
// no POSIX string can have it, so a time in it proves that the footer was not
// understood.
const noZone = "?"

// maxRule is the longest rule taken, in bytes.
const maxRule = 256

// Parse makes a time.Location of a POSIX TZ string (IEEE 1003.1 section
// 8.3, with RFC 8536 section 3.3.1's extensions), such as
// "CET-1CEST,M3.5.0,M10.5.0/3" or "<+03>-3". It needs no zoneinfo files, which
// routers do not have: the string is the whole rule, and a TZif file may carry
// it as its footer.
func Parse(tz string) (*time.Location, error) {
	rule := tz
	if tz == "UTC" || tz == "GMT" { // OpenWrt's default; the standard wants the offset
		rule += "0"
	}
	loc, err := time.LoadLocationFromTZData(tz, tzif(rule))
	if err == nil && usage.Clean(tz, maxRule) == tz {
		// Go keeps silent about a footer that it cannot read.
		if name, _ := time.Unix(0, 0).In(loc).Zone(); name != noZone {
			return loc, nil
		}
	}
	return nil, fmt.Errorf("time zone %q is not a POSIX one such as CET-1CEST,M3.5.0,M10.5.0/3", usage.Clean(tz, 80))
}

// tzif is the smallest TZif version 2 file with a footer (RFC 8536 section 3):
// two equal blocks of one zone at offset 0 without transitions, then the
// string between newlines. The first block is for version 1 and skipped.
func tzif(tz string) []byte {
	block := make([]byte, 0, 64)
	block = append(block, "TZif2"...)
	block = append(block, make([]byte, 15)...)
	for _, count := range []uint32{0, 0, 0, 0, 1, uint32(len(noZone) + 1)} { // isutc, isstd, leap, time, type, char
		block = binary.BigEndian.AppendUint32(block, count)
	}
	block = append(block, 0, 0, 0, 0, 0, 0) // offset 0, no DST, name at 0
	block = append(block, noZone+"\x00"...)
	data := append(block[:len(block):len(block)], block...)
	data = append(data, '\n')
	data = append(data, tz...)
	return append(data, '\n')
}
