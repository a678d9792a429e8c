package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/relay/store"
)

func testSessions(t *testing.T, f *fixture) {
	has := func(want ...store.Session) {
		t.Helper()
		got, err := f.Sessions(t.Context())
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	has()
	odd := `'; DROP TABLE sessions; --`
	a := store.Session{ID: "a", Key: "k1", StartedAt: f.now, UsedAt: f.now}
	b := store.Session{ID: odd, Key: "k1", StartedAt: f.now, UsedAt: f.now.Add(time.Second)}
	c := store.Session{ID: "a", Key: "k2", StartedAt: f.now, UsedAt: f.now.Add(2 * time.Second)}
	if err := f.SaveSessions(t.Context(), []store.Session{c, a, b}); err != nil {
		t.Fatal(err)
	}
	has(a, b, c)
	a.UsedAt = f.now.Add(time.Minute)
	if err := f.SaveSessions(t.Context(), []store.Session{a}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Store = f.reopen()
	has(b, c, a)
	for range 2 {
		if err := f.DropSessions(t.Context(), []store.Session{b, {ID: "a", Key: "k2"}}); err != nil {
			t.Fatal(err)
		}
	}
	has(a)
}
