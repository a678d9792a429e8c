package command

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
)

func TestInForce(t *testing.T) {
	c := config.Default()
	f := newInForce(&c)
	var text bytes.Buffer
	log := logger(&text, &f.level)
	log.Debug("before")
	c.LogLevel, c.RemoteAccess = slog.LevelDebug, config.AccessRead
	if taken := f.take(c); len(taken) != 2 || f.remoteAccess() != config.AccessRead {
		t.Errorf("without a history: took %q, remote access %s", taken, f.remoteAccess())
	}
	log.Debug("after")
	if got := text.String(); strings.Contains(got, "before") || !strings.Contains(got, "after") {
		t.Errorf("logged %q, want the second line only", got)
	}

	// A flag's word stands.
	f = newInForce(&c)
	f.pin("remote_access", func() { f.remote.Store(config.AccessOff) })
	store, err := history.Open(history.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(time.Now())
	f.history = store
	c.RemoteAccess = config.AccessFull
	taken := f.take(c)
	slices.Sort(taken)
	if !slices.Equal(taken, []string{"history_days", "history_kib", "log_level"}) || f.remoteAccess() != config.AccessOff {
		t.Errorf("with a flag: took %q, remote access %s", taken, f.remoteAccess())
	}
	c.History.KiB = 1 // as no checked Config has it
	if taken = f.take(c); !slices.Equal(taken, []string{"log_level"}) {
		t.Errorf("a history that refuses: took %q", taken)
	}
}
