package identity

import (
	"bufio"
	"errors"
	"io"
)

// Limits of every source. A /16 LAN has more hosts than a router of this size
// can serve; the longest honest line has a name of 255 bytes.
const (
	maxFacts  = 10_000  // from one source; beyond, only of known devices
	maxLines  = 100_000 // of a file: known devices may stand behind a flood
	maxLine   = 1 << 10
	maxFields = 16
	readAhead = 16 << 10
)

// eachLine calls do with the blank-separated fields of each line of r that has
// any. It stops after maxLines lines and skips what is over maxLine bytes. do
// must not keep the slice.
func eachLine(r io.Reader, do func(fields []string)) error {
	br := bufio.NewReaderSize(r, readAhead)
	var fields [maxFields]string
	for range maxLines {
		line, err := br.ReadSlice('\n')
		tooLong := len(line) > maxLine
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if !tooLong {
			if f := split(string(line), fields[:0]); len(f) > 0 {
				do(f)
			}
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

// split appends the fields of line to f while it has room.
func split(line string, f []string) []string {
	from := -1
	for i := 0; i <= len(line) && len(f) < cap(f); i++ {
		blank := i == len(line) || line[i] == ' ' || line[i] >= '\t' && line[i] <= '\r'
		switch {
		case blank && from >= 0:
			f = append(f, line[from:i])
			from = -1
		case !blank && from < 0:
			from = i
		}
	}
	return f
}
