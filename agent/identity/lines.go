package identity

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Limits of every source. A /16 LAN has more hosts than a router of this size
// can serve; the longest honest line has a name of 255 bytes.
const (
	maxEntries = 10_000
	maxLine    = 1 << 10
)

// eachLine calls do with the blank-separated fields of each line of r that has
// any. It stops after maxEntries lines and skips what is over maxLine bytes.
func eachLine(r io.Reader, do func(fields []string)) error {
	br := bufio.NewReaderSize(r, maxLine)
	for range maxEntries {
		line, err := br.ReadSlice('\n')
		tooLong := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if fields := strings.Fields(string(line)); !tooLong && len(fields) > 0 {
			do(fields)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
