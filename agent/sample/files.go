package sample

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// files is nlbwmon's database directory as the ledger asks for it.
type files struct {
	dir   string
	order nlbwmon.AddrOrder
}

// Files is the database directory of a router's nlbwmon.
func Files(r *source.Router) ledger.Fetcher { return files{dir: r.DatabaseDir, order: r.Order} }

// Periods implements ledger.Fetcher.
func (f files) Periods() ([]nlbwmon.Period, error) {
	periods, err := nlbwmon.ListPeriods(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nlbwmon makes the directory when it first saves
	}
	return periods, err
}

// Fetch implements ledger.Fetcher.
func (f files) Fetch(p nlbwmon.Period, sink usage.Sink) (ledger.Fetched, error) {
	sink.Begin(0)
	file, err := nlbwmon.OpenPeriod(f.dir, p, f.order)
	var damage *nlbwmon.DataError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &damage), errors.Is(err, nlbwmon.ErrPeriod):
		return ledger.Gone, nil
	case err != nil:
		return ledger.Gone, err
	}
	defer file.Close()
	var rec usage.Record
	for {
		switch err := file.Next(&rec); {
		case err == nil:
			sink.Add(&rec)
		case err == io.EOF:
			if f.twofold(p) {
				return ledger.Twofold, nil
			}
			return ledger.Whole, nil
		default:
			if f.twofold(p) {
				return ledger.Both, nil
			}
			return ledger.Damaged, nil
		}
	}
}

// Written implements ledger.Fetcher.
func (f files) Written(p nlbwmon.Period) time.Time {
	for _, suffix := range []string{".db.gz", ".db"} {
		if info, err := os.Stat(filepath.Join(f.dir, fmt.Sprintf("%d%s", uint32(p), suffix))); err == nil {
			return info.ModTime()
		}
	}
	return time.Time{}
}

// twofold tells whether both kinds of file exist: a stale X.db.gz beside X.db
// wins at nlbwmon's restart (database.c, database_load).
func (f files) twofold(p nlbwmon.Period) bool {
	for _, suffix := range []string{".db", ".db.gz"} {
		if _, err := os.Stat(filepath.Join(f.dir, fmt.Sprintf("%d%s", uint32(p), suffix))); err != nil {
			return false
		}
	}
	return true
}
