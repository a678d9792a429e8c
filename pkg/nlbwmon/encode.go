package nlbwmon

import (
	"bufio"
	"fmt"
	"io"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Encode writes a database as nlbwmon would, h.Entries being replaced by the
// number of records. It is for tests, benchmarks and the simulated daemon;
// netpilot never writes nlbwmon's own files.
func Encode(w io.Writer, h Header, order AddrOrder, recs []usage.Record) error {
	h.Entries = uint32(len(recs))
	bw := bufio.NewWriterSize(w, bufferSize)
	buf := AppendHeader(make([]byte, 0, recordSize), h)
	// A bufio.Writer keeps its first error for Flush.
	_, _ = bw.Write(buf)
	for i := range recs {
		buf = AppendRecord(buf[:0], &recs[i], order, h.Compact)
		_, _ = bw.Write(buf)
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write nlbwmon database: %w", err)
	}
	return nil
}
