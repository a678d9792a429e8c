// Package checksum tells a whole file or frame of the agent from a damaged
// one: CRC-32C (Castagnoli, RFC 3720 section 12.1), which processors compute.
package checksum

import "hash/crc32"

// Of is data's checksum.
func Of(data []byte) uint32 { return Extend(0, data) }

// Extend is the checksum of what sum is of, with data behind it.
func Extend(sum uint32, data []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), data) // the table is made once
}
