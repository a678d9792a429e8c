package storetest

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// key makes a key and gives it with its secret's hash.
func (f *fixture) key(t *testing.T, name string, routers []usage.RouterID) (store.Key, store.Hash) {
	t.Helper()
	_, hash := store.NewSecret(store.KeyPrefix)
	k := store.Key{ID: store.NewKeyID(), Name: name, Scope: store.ScopeWrite, Routers: routers, CreatedAt: f.now}
	if err := f.CreateKey(t.Context(), k, hash); err != nil {
		t.Fatalf("CreateKey: %v", err)
	}
	return k, hash
}

func testRotateKey(t *testing.T, f *fixture) {
	ctx := t.Context()
	k, first := f.key(t, "backend", nil)
	rotate := func(now time.Time) store.Hash {
		t.Helper()
		_, hash := store.NewSecret(store.KeyPrefix)
		k.RotatedAt, k.OldUntil = now, now.Add(time.Hour)
		if got, err := f.RotateKey(ctx, "backend", hash, now, time.Hour); err != nil || !reflect.DeepEqual(got, k) {
			t.Fatalf("RotateKey: got %+v, %v, want %+v", got, err, k)
		}
		return hash
	}
	good := func(hash store.Hash, now time.Time) bool {
		t.Helper()
		got, err := f.KeyByHash(ctx, hash, now)
		if err != nil && usage.KindOf(err) != usage.NotFound || err == nil && !reflect.DeepEqual(got, k) {
			t.Errorf("KeyByHash: got %+v, %v, want %+v", got, err, k)
		}
		return err == nil
	}
	second := rotate(f.now)
	if end := f.now.Add(time.Hour); !good(second, end) || !good(first, end.Add(-time.Millisecond)) || good(first, end) {
		t.Error("the first secret is not good for just an hour beside the second")
	}
	third := rotate(f.now.Add(time.Minute))
	if good(first, f.now) || !good(second, f.now) || !good(third, f.now) {
		t.Error("after rotating twice other secrets are good than the last two")
	}
	if _, err := f.RevokeKey(ctx, "backend", f.now); err != nil {
		t.Fatal(err)
	}
	_, hash := store.NewSecret(store.KeyPrefix)
	_, err := f.RotateKey(ctx, "backend", hash, f.now, time.Hour)
	wantKind(t, "rotate a revoked key", err, usage.Invalid)
	_, err = f.RotateKey(ctx, "nobody", hash, f.now, time.Hour)
	wantKind(t, "rotate an unknown key", err, usage.NotFound)
	for _, hash := range []store.Hash{second, third} {
		if got, err := f.KeyByHash(ctx, hash, f.now); err != nil || got.InForce(f.now) {
			t.Errorf("a revoked key is in force by one of its secrets: %+v, %v", got, err)
		}
	}
}

func testKeyRouters(t *testing.T, f *fixture) {
	ctx := t.Context()
	ids := []usage.RouterID{RouterID(1), RouterID(2), RouterID(3)}
	slices.Sort(ids)
	_, hash := f.key(t, "tenant", ids[:2])
	want := func(ids []usage.RouterID) {
		t.Helper()
		got, err := f.KeyByHash(ctx, hash, f.now)
		if err != nil || got.Routers == nil || !slices.Equal(got.Routers, ids) {
			t.Errorf("got %v, %v, want %v", got.Routers, err, ids)
		}
	}
	want(ids[:2])
	if k, err := f.KeyRouters(ctx, "tenant", ids[1:], ids[:1]); err != nil || !slices.Equal(k.Routers, ids[1:]) {
		t.Errorf("KeyRouters: got %v, %v", k.Routers, err)
	}
	want(ids[1:])
	if _, err := f.KeyRouters(ctx, "tenant", nil, ids); err != nil {
		t.Errorf("KeyRouters: %v", err)
	}
	want([]usage.RouterID{}) // none is not all
	if k, err := f.KeyByHash(ctx, hash, f.now); err != nil || k.Sees(ids[0]) {
		t.Errorf("a key with an empty list sees a router (%v)", err)
	}
	_, none := f.key(t, "empty", []usage.RouterID{})
	if k, err := f.KeyByHash(ctx, none, f.now); err != nil || k.Sees(ids[0]) {
		t.Errorf("a key made with an empty list sees a router (%v)", err)
	}
	f.key(t, "all", nil)
	_, err := f.KeyRouters(ctx, "all", ids, nil)
	wantKind(t, "limit a key that sees all", err, usage.Invalid)
	if list, err := f.Keys(ctx); err != nil || len(list) != 3 || list[0].Routers != nil || list[2].Routers == nil {
		t.Errorf("Keys: got %+v, %v", list, err)
	}
}

func testRotation(t *testing.T, f *fixture) {
	ctx := t.Context()
	first, other := f.enrol(t, 1), f.enrol(t, 2)
	_, next := store.NewSecret(store.RouterPrefix)
	standing := func(what string, hash store.Hash, now time.Time, want *store.Standing) {
		t.Helper()
		r, got, err := f.RouterBySecret(ctx, hash, now)
		switch {
		case want == nil:
			wantKind(t, what, err, usage.NotFound)
		case err != nil || r.ID != RouterID(1) || got != *want:
			t.Errorf("%s: got router %s, %+v, %v, want %+v", what, r.ID.Short(), got, err, *want)
		}
	}
	wantKind(t, "a secret nobody asked for", f.OfferSecret(ctx, RouterID(1), next), usage.Invalid)
	if n, err := f.WantRotation(ctx, nil, time.Hour); n != 2 || err != nil {
		t.Fatalf("WantRotation: got %d, %v, want 2", n, err)
	}
	list, err := f.Changes(ctx, 0)
	if err != nil || len(list) != 2 || !list[0].Rotate || !list[1].Rotate {
		t.Fatalf("Changes: got %+v, %v, want both to rotate", list, err)
	}
	for _, taken := range []store.Hash{first, other} {
		wantKind(t, "a secret in use", f.OfferSecret(ctx, RouterID(1), taken), usage.Invalid)
	}
	for range 2 { // asking again is harmless
		if err := f.OfferSecret(ctx, RouterID(1), next); err != nil {
			t.Fatalf("OfferSecret: %v", err)
		}
	}
	wantKind(t, "another's offer", f.OfferSecret(ctx, RouterID(2), next), usage.Invalid)
	standing("offered", next, f.now, &store.Standing{Offered: true})
	standing("present", first, f.now, &store.Standing{})
	if err := f.ProveSecret(ctx, RouterID(1), store.HashOf("something else"), f.now); err != nil {
		t.Errorf("ProveSecret: %v", err)
	}
	standing("present, after another was proven", first, f.now, &store.Standing{})
	for range 2 {
		if err := f.ProveSecret(ctx, RouterID(1), next, f.now); err != nil {
			t.Fatalf("ProveSecret: %v", err)
		}
	}
	standing("proven", next, f.now, &store.Standing{})
	standing("in the overlap", first, f.now, &store.Standing{Until: f.now.Add(time.Hour)})
	standing("after it", first, f.now.Add(time.Hour), nil)
	list, err = f.Changes(ctx, list[1].Revision)
	if err != nil || len(list) != 1 || list[0].Rotate || !slices.Equal(list[0].Secrets, []store.Hash{next, first}) {
		t.Errorf("Changes: got %+v, %v, want the two secrets", list, err)
	}
	// Enrolling again is the end of them all.
	again := f.enrol(t, 1)
	standing("enrolled again", again, f.now, &store.Standing{})
	standing("before that", next, f.now, nil)
	standing("long before that", first, f.now, nil)

	if err := f.RevokeRouter(ctx, RouterID(2), f.now); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WantRotation(ctx, nil, 0); n != 1 || err != nil {
		t.Errorf("WantRotation of all: got %d, %v, want 1, for one is revoked", n, err)
	}
	_, err = f.WantRotation(ctx, []usage.RouterID{RouterID(2)}, 0)
	wantKind(t, "rotate a revoked router", err, usage.NotFound)
	wantKind(t, "offer of a revoked router", f.OfferSecret(ctx, RouterID(2), store.HashOf("x")), usage.Invalid)
}

func testAudit(t *testing.T, f *fixture) {
	ctx := t.Context()
	k, _ := f.key(t, "backend", nil)
	var rows []store.AuditRow
	for i := range 10 {
		at := f.now.Add(time.Duration(i) * time.Minute)
		row := store.AuditRow{At: at, Until: at, Times: 1, Who: "nobody", Method: "GET /x", Result: "UNAUTHENTICATED", Address: "192.0.2.1"}
		if i%2 == 1 {
			row.Who, row.Key, row.Router, row.Result, row.Times = "key:backend", k.ID, RouterID(i), "ok", 7
			row.Detail = "'; DROP TABLE audit; --"
		}
		rows = append(rows, row)
	}
	if err := f.AppendAudit(ctx, rows); err != nil {
		t.Fatalf("AppendAudit: %v", err)
	}
	list := func(q store.AuditQuery) (got []store.AuditRow) {
		t.Helper()
		if err := f.Audit(ctx, q, func(r store.AuditRow) error { got = append(got, r); return nil }); err != nil {
			t.Errorf("Audit: %v", err)
		}
		return got
	}
	all := list(store.AuditQuery{})
	slices.Reverse(all)
	if len(all) != len(rows) {
		t.Fatalf("got %d rows, want %d", len(all), len(rows))
	}
	for i, row := range rows {
		row.ID = all[i].ID
		if all[i] != row || i > 0 && row.ID <= all[i-1].ID {
			t.Errorf("row %d: got %+v, want %+v", i, all[i], row)
		}
	}
	for _, test := range []struct {
		query store.AuditQuery
		want  int
	}{
		{store.AuditQuery{Limit: 3}, 3},
		{store.AuditQuery{Router: RouterID(3)}, 1},
		{store.AuditQuery{Router: RouterID(2)}, 0},
		{store.AuditQuery{Key: k.ID}, 5},
		{store.AuditQuery{Key: "backend", Limit: 2}, 2},
		{store.AuditQuery{Since: f.now.Add(8 * time.Minute)}, 2},
	} {
		if got := list(test.query); len(got) != test.want {
			t.Errorf("%+v: got %d rows, want %d", test.query, len(got), test.want)
		}
	}
	stop := errors.New("stop")
	if err := f.Audit(ctx, store.AuditQuery{}, func(store.AuditRow) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visit that fails: got %v", err)
	}
	for _, test := range []struct {
		before time.Time
		keep   int
		gone   int64
	}{
		{f.now, 100, 0},
		{f.now.Add(2 * time.Minute), 100, 2},
		{f.now, 5, 3},
		{f.now.Add(time.Hour), 100, 5},
		{f.now.Add(time.Hour), 100, 0},
	} {
		if n, err := f.TrimAudit(ctx, test.before, test.keep); n != test.gone || err != nil {
			t.Errorf("TrimAudit before %v but %d: got %d, %v, want %d", test.before, test.keep, n, err, test.gone)
		}
	}
	last := rows[9]
	if err := f.AppendAudit(ctx, []store.AuditRow{last}); err != nil {
		t.Fatal(err)
	}
	if got := list(store.AuditQuery{}); len(got) != 1 || got[0].ID <= all[9].ID {
		t.Errorf("got %+v, want one row with an id above %d", got, all[9].ID)
	}
}
