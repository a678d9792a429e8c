package nlbwmon_test

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// TestDamaged compares with what the stock daemon accepts and rejects, as
// recorded: want is nil exactly where it served the file. rows are the good
// ones delivered before the fault; where the daemon serves the file it serves
// as many, with rows of the same key added.
func TestDamaged(t *testing.T) {
	tests := map[string]struct {
		rows int
		want error
	}{
		"plain-truncated-header":            {0, nlbwmon.ErrTruncated},
		"plain-zero-length":                 {0, nlbwmon.ErrEmpty},
		"plain-header-only-entries-nonzero": {0, nlbwmon.ErrTruncated},
		"plain-truncated-record":            {2, nlbwmon.ErrTruncated},
		"plain-wrong-magic":                 {0, nlbwmon.ErrMagic},
		"plain-entries-too-many":            {3, nlbwmon.ErrTruncated},
		"plain-entries-all-ones":            {3, nlbwmon.ErrTruncated},
		"plain-entries-too-few":             {2, nil},
		"plain-little-endian-entries":       {3, nlbwmon.ErrTruncated},
		"plain-wrong-timestamp":             {0, nlbwmon.ErrPeriod},
		"plain-timestamp-zero":              {0, nlbwmon.ErrPeriod},
		"plain-interval-type-0":             {0, nlbwmon.ErrInterval},
		"plain-interval-type-9":             {3, nil},
		"plain-trailing-bytes":              {3, nil},
		"plain-duplicate-record":            {4, nil},
		"plain-unknown-family":              {3, nil},
		"gz-truncated-tail":                 {3, nlbwmon.ErrTruncated},
		"gz-truncated-half":                 {0, nlbwmon.ErrTruncated},
		"gz-bad-crc":                        {3, nlbwmon.ErrChecksum},
		"gz-garbage":                        {0, nlbwmon.ErrMagic},
		"gz-name-but-plain-content":         {3, nil},
		"gz-trailing-payload":               {3, nlbwmon.ErrTrailing},
		"gz-entries-too-many":               {3, nlbwmon.ErrTruncated},
		"gz-zero-length":                    {0, nlbwmon.ErrEmpty},
		"gz-two-members":                    {3, nil},
	}
	for _, dir := range glob(t, "damaged/*/") {
		name := filepath.Base(dir)
		if strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".tsv") {
			continue
		}
		tt, ok := tests[name]
		if !ok {
			t.Errorf("%s: no expectation", name)
		}
		delete(tests, name)
		for _, p := range []nlbwmon.Period{20261001, 20261101} {
			for _, order := range []nlbwmon.AddrOrder{nlbwmon.OrderLittle, nlbwmon.OrderGuess} {
				var recs []usage.Record
				f, err := nlbwmon.OpenPeriod(dir, p, order)
				if err == nil {
					recs, err = collect(f)
					checkTrailing(t, name, f.Trailing())
					_ = f.Close()
				}
				if !errors.Is(err, tt.want) || len(recs) != tt.rows {
					t.Errorf("%s, %v: got %d rows and %v, want %d and %v", name, p, len(recs), err, tt.rows, tt.want)
				}
				if err != nil && usage.KindOf(err) != usage.Unavailable {
					t.Errorf("%s: got kind %v", name, usage.KindOf(err))
				}
			}
		}
	}
	for name := range maps.Keys(tests) {
		t.Errorf("%s: no recording", name)
	}
}

func checkTrailing(t *testing.T, name string, got int64) {
	t.Helper()
	want := map[string]int64{"plain-trailing-bytes": 4, "plain-entries-too-few": 72}[name]
	if got != want {
		t.Errorf("%s: got %d trailing bytes, want %d", name, got, want)
	}
}

// What the daemon served from a damaged old file is what is decoded, once the
// rows of the same key are added.
func TestDamagedServedRows(t *testing.T) {
	for _, dump := range glob(t, "damaged/*/old-dump.bin") {
		b := load(t, dump)
		if len(b) == 0 {
			continue
		}
		_, want := decode(t, b, nlbwmon.OrderLittle)
		f, err := nlbwmon.OpenPeriod(filepath.Dir(dump), 20261001, nlbwmon.OrderLittle)
		if err != nil {
			t.Fatal(err)
		}
		got, err := collect(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(counted(sum(got, allColumns)), counted(want)) {
			t.Errorf("%s: got %v, want %v", dump, got, want)
		}
	}
}

// Messages tell what was good and what to do.
func TestDamagedMessages(t *testing.T) {
	f, err := nlbwmon.OpenPeriod(recordings+"/damaged/plain-truncated-record", 20261001, nlbwmon.OrderGuess)
	if err != nil {
		t.Fatal(err)
	}
	_, err = collect(f)
	_ = f.Close()
	for _, want := range []string{"20261001.db", "cut off", "after 2 of 3 records", "read it again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
	var data *nlbwmon.DataError
	if !errors.As(err, &data) || data.Rows != 2 || data.Entries != 3 {
		t.Errorf("got %+v", data)
	}
	if kinds := []error{nlbwmon.ErrMagic, nlbwmon.ErrEmpty, nlbwmon.ErrChecksum}; slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) }) {
		t.Errorf("%v is of another kind as well", err)
	}
}
