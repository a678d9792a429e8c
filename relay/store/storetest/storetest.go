// Package storetest is what every engine of the relay's store must pass.
package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

// Run tests an engine. Each call of open gives an empty store, which the test
// closes; reopen closes and opens the store again on the same data.
func Run(t *testing.T, open func(t *testing.T) (s store.Store, reopen func() store.Store)) {
	for name, test := range map[string]func(*testing.T, *fixture){
		"enrol":      testEnrol,
		"token":      testToken,
		"oneWinner":  testOneWinner,
		"revoke":     testRevoke,
		"changes":    testChanges,
		"list":       testList,
		"sightings":  testSightings,
		"keys":       testKeys,
		"rotateKey":  testRotateKey,
		"keyRouters": testKeyRouters,
		"rotation":   testRotation,
		"audit":      testAudit,
		"sessions":   testSessions,
		"durability": testDurability,

		"push":         testPush,
		"pushRefused":  testPushRefused,
		"open":         testOpen,
		"restart":      testRestart,
		"query":        testQuery,
		"tidy":         testTidy,
		"retention":    testRetention,
		"random":       testRandomHistory,
		"pushTogether": testPushTogether,
		"answers":      testAnswers,

		"counters":        testCounters,
		"countersRandom":  testCountersRandom,
		"countersBounded": testCountersBounded,
	} {
		t.Run(name, func(t *testing.T) {
			s, reopen := open(t)
			f := &fixture{Store: s, reopen: reopen, now: time.UnixMilli(1_795_000_000_000).UTC()}
			t.Cleanup(func() {
				for range 2 { // closing twice is harmless
					if err := f.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
			})
			test(t, f)
		})
	}
}

// fixture is an open store and the time in its test.
type fixture struct {
	store.Store
	reopen func() store.Store
	now    time.Time
}

// RouterID makes the id of the n-th router of a test.
func RouterID(n int) usage.RouterID {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	return usage.RouterID(hex.EncodeToString(sum[:]))
}

// token makes a token that is good for the ttl.
func (f *fixture) token(t *testing.T, ttl time.Duration) store.Hash {
	t.Helper()
	_, hash := store.NewSecret(store.TokenPrefix)
	if err := f.CreateToken(t.Context(), store.Token{Note: "test", CreatedAt: f.now, ExpiresAt: f.now.Add(ttl)}, hash); err != nil {
		t.Fatalf("CreateToken: %v", err)
	}
	return hash
}

// enrol enrols the n-th router and gives its secret's hash.
func (f *fixture) enrol(t *testing.T, n int) store.Hash {
	t.Helper()
	_, secret := store.NewSecret(store.RouterPrefix)
	r := store.Router{ID: RouterID(n), Name: "r" + strconv.Itoa(n), Model: "box", AgentVersion: "1.0.0"}
	if err := f.Redeem(t.Context(), f.token(t, time.Hour), r, secret, f.now); err != nil {
		t.Fatalf("Redeem: %v", err)
	}
	return secret
}

func wantKind(t *testing.T, what string, err error, want usage.Kind) {
	t.Helper()
	if err == nil || usage.KindOf(err) != want {
		t.Errorf("%s: got error %v (%v), want kind %v", what, err, usage.KindOf(err), want)
	}
}

func testEnrol(t *testing.T, f *fixture) {
	secret := f.enrol(t, 1)
	want := store.Router{ID: RouterID(1), Name: "r1", Model: "box", AgentVersion: "1.0.0", EnrolledAt: f.now}
	got, _, err := f.RouterBySecret(t.Context(), secret, f.now)
	if err != nil || got != want {
		t.Errorf("RouterBySecret: got %+v, %v, want %+v", got, err, want)
	}
	got, err = f.Router(t.Context(), RouterID(1))
	if err != nil || got != want {
		t.Errorf("Router: got %+v, %v, want %+v", got, err, want)
	}
	_, err = f.Router(t.Context(), RouterID(2))
	wantKind(t, "unknown router", err, usage.NotFound)

	again := f.enrol(t, 1)
	_, _, err = f.RouterBySecret(t.Context(), secret, f.now)
	wantKind(t, "secret before the second enrolment", err, usage.NotFound)
	if _, _, err := f.RouterBySecret(t.Context(), again, f.now); err != nil {
		t.Errorf("secret of the second enrolment: %v", err)
	}
}

func testToken(t *testing.T, f *fixture) {
	r := store.Router{ID: RouterID(1)}
	redeem := func(token store.Hash, now time.Time) error {
		_, secret := store.NewSecret(store.RouterPrefix)
		return f.Redeem(t.Context(), token, r, secret, now)
	}
	wrong := redeem(store.HashOf("nothing"), f.now)
	wantKind(t, "wrong token", wrong, usage.Forbidden)
	expired := redeem(f.token(t, time.Minute), f.now.Add(time.Minute))
	wantKind(t, "expired token", expired, usage.Forbidden)
	if _, err := f.Router(t.Context(), r.ID); usage.KindOf(err) != usage.NotFound {
		t.Errorf("a refused token enrolled the router: %v", err)
	}
	token := f.token(t, time.Minute)
	if err := redeem(token, f.now.Add(time.Minute-time.Millisecond)); err != nil {
		t.Errorf("good token: %v", err)
	}
	used := redeem(token, f.now)
	wantKind(t, "used token", used, usage.Forbidden)
	if wrong.Error() != expired.Error() || wrong.Error() != used.Error() {
		t.Errorf("refusals differ: %q, %q, %q", wrong, expired, used)
	}
}

func testOneWinner(t *testing.T, f *fixture) {
	token := f.token(t, time.Hour)
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for i := range errs {
		wg.Go(func() {
			_, secret := store.NewSecret(store.RouterPrefix)
			errs[i] = f.Redeem(t.Context(), token, store.Router{ID: RouterID(i)}, secret, f.now)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantKind(t, "loser", err, usage.Forbidden)
		}
	}
	if _, total, err := f.Routers(t.Context(), store.RouterQuery{}); won != 1 || total != 1 || err != nil {
		t.Errorf("got %d winners and %d routers (%v), want 1 and 1", won, total, err)
	}
}

func testRevoke(t *testing.T, f *fixture) {
	secret := f.enrol(t, 1)
	for range 2 {
		if err := f.RevokeRouter(t.Context(), RouterID(1), f.now); err != nil {
			t.Fatalf("RevokeRouter: %v", err)
		}
		r, _, err := f.RouterBySecret(t.Context(), secret, f.now)
		if err != nil || !r.RevokedAt.Equal(f.now) {
			t.Errorf("got revoked at %v, %v, want %v", r.RevokedAt, err, f.now)
		}
	}
	wantKind(t, "revoke unknown", f.RevokeRouter(t.Context(), RouterID(2), f.now), usage.NotFound)
	secret = f.enrol(t, 1)
	if r, _, err := f.RouterBySecret(t.Context(), secret, f.now); err != nil || !r.RevokedAt.IsZero() {
		t.Errorf("after enrolling again: got revoked at %v, %v, want never", r.RevokedAt, err)
	}
}

func testChanges(t *testing.T, f *fixture) {
	ctx := t.Context()
	first, second := f.enrol(t, 1), f.enrol(t, 2)
	list, err := f.Changes(ctx, 0)
	if err != nil || len(list) != 2 || list[0].ID != RouterID(1) || list[0].Secrets[0] != first || list[1].Secrets[0] != second {
		t.Fatalf("after two enrolments: got %+v, %v", list, err)
	}
	since := list[1].Revision
	if list, err := f.Changes(ctx, since); err != nil || len(list) != 0 {
		t.Errorf("after nothing: got %+v, %v, want none", list, err)
	}
	// Being seen is no change; being revoked is one, once.
	if err := f.Saw(ctx, []store.Sighting{{ID: RouterID(2), LastSeen: f.now, Connected: true}}); err != nil {
		t.Errorf("Saw: %v", err)
	}
	if err := f.RevokeRouter(ctx, RouterID(1), f.now); err != nil {
		t.Fatal(err)
	}
	list, err = f.Changes(ctx, since)
	if err != nil || len(list) != 1 || list[0].ID != RouterID(1) || !list[0].Revoked || list[0].Revision <= since {
		t.Fatalf("after a revocation: got %+v, %v", list, err)
	}
	since = list[0].Revision
	if err := f.RevokeRouter(ctx, RouterID(1), f.now); err != nil {
		t.Fatal(err)
	}
	if list, err := f.Changes(ctx, since); err != nil || len(list) != 0 {
		t.Errorf("after revoking the revoked: got %+v, %v, want none", list, err)
	}
	again := f.enrol(t, 1)
	list, err = f.Changes(ctx, since)
	if err != nil || len(list) != 1 || list[0].Revoked || !slices.Equal(list[0].Secrets, []store.Hash{again}) {
		t.Errorf("after enrolling again: got %+v, %v", list, err)
	}
}

func testList(t *testing.T, f *fixture) {
	start := f.now
	for i := range 5 {
		f.now = start.Add(time.Duration(i) * time.Minute)
		f.enrol(t, i)
	}
	seen := []store.Sighting{{ID: RouterID(2), LastSeen: start.Add(time.Hour)}}
	if err := f.Saw(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		query store.RouterQuery
		first string
		rows  int
		total int
	}{
		{"all by name", store.RouterQuery{}, "r0", 5, 5},
		{"limited", store.RouterQuery{Limit: 2, Offset: 1}, "r1", 2, 5},
		{"end", store.RouterQuery{Limit: 2, Offset: 4}, "r4", 1, 5},
		{"beyond", store.RouterQuery{Limit: 2, Offset: 9}, "", 0, 5},
		{"newest", store.RouterQuery{Sort: store.ByEnrolled}, "r4", 5, 5},
		{"seen", store.RouterQuery{Sort: store.BySeen}, "r2", 5, 5},
		{"prefix", store.RouterQuery{Prefix: string(RouterID(3))[:10]}, "r3", 1, 1},
		{"among", store.RouterQuery{Among: []usage.RouterID{RouterID(1), RouterID(4), RouterID(9)}}, "r1", 2, 2},
		{"among none", store.RouterQuery{Among: []usage.RouterID{}}, "", 0, 0},
		{"no pattern", store.RouterQuery{Prefix: "%"}, "", 0, 0},
	} {
		list, total, err := f.Routers(t.Context(), test.query)
		if err != nil || len(list) != test.rows || total != test.total || len(list) > 0 && list[0].Name != test.first {
			t.Errorf("%s: got %d of %d %+v, %v, want %d of %d, first %q",
				test.name, len(list), total, list, err, test.rows, test.total, test.first)
		}
	}
	_, _, err := f.Routers(t.Context(), store.RouterQuery{Sort: "name; DROP TABLE routers"})
	wantKind(t, "bad sort", err, usage.Invalid)
}

func testSightings(t *testing.T, f *fixture) {
	ctx := t.Context()
	secret := f.enrol(t, 1)
	facts := store.Facts{Name: "new", Model: "m", Release: "24.10", Arch: "mipsel_24kc", Timezone: "UTC0", AgentVersion: "2.0.0"}
	saw := func(s ...store.Sighting) {
		t.Helper()
		if err := f.Saw(ctx, s); err != nil {
			t.Fatalf("Saw: %v", err)
		}
	}
	saw(store.Sighting{ID: RouterID(9), LastSeen: f.now}, // unknown: nothing to write
		store.Sighting{ID: RouterID(1), LastSeen: f.now, Connected: true, Facts: &facts})
	want := store.Router{ID: RouterID(1), Name: "new", Model: "m", Release: "24.10", Arch: "mipsel_24kc", Timezone: "UTC0",
		AgentVersion: "2.0.0", EnrolledAt: f.now, LastSeen: f.now, Connected: true}
	if got, _, err := f.RouterBySecret(ctx, secret, f.now); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if !want.Online(f.now.Add(store.SeenEvery)) || want.Online(f.now.Add(store.OnlineWithin)) {
		t.Errorf("Online does not end after %v of silence", store.OnlineWithin)
	}
	saw(store.Sighting{ID: RouterID(1), LastSeen: f.now.Add(-time.Hour), Connected: true}) // last_seen never goes back
	if got, err := f.Router(ctx, RouterID(1)); err != nil || got != want {
		t.Errorf("after an old sighting: got %+v, %v, want %+v", got, err, want)
	}
	if err := f.AllOffline(ctx); err != nil {
		t.Fatalf("AllOffline: %v", err)
	}
	want.Connected = false
	if got, err := f.Router(ctx, RouterID(1)); err != nil || got != want {
		t.Errorf("after AllOffline: got %+v, %v, want %+v", got, err, want)
	}
}

func testKeys(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, hash := store.NewSecret(store.KeyPrefix)
	key := store.Key{ID: "00000001", Name: "backend", Scope: store.ScopeRead, CreatedAt: f.now, ExpiresAt: f.now.Add(time.Hour)}
	if err := f.CreateKey(ctx, key, hash); err != nil {
		t.Fatalf("CreateKey: %v", err)
	}
	twin := store.Key{ID: "00000002", Name: "backend", Scope: store.ScopeRead, CreatedAt: f.now.Add(time.Minute)}
	_, twinHash := store.NewSecret(store.KeyPrefix)
	wantKind(t, "second key of a name", f.CreateKey(ctx, twin, twinHash), usage.Invalid)

	if err := f.KeyUsed(ctx, key.ID, f.now.Add(time.Second)); err != nil {
		t.Errorf("KeyUsed: %v", err)
	}
	key.LastUsed = f.now.Add(time.Second)
	if got, err := f.KeyByHash(ctx, hash, f.now); err != nil || !reflect.DeepEqual(got, key) {
		t.Errorf("KeyByHash: got %+v, %v, want %+v", got, err, key)
	}
	_, err := f.KeyByHash(ctx, twinHash, f.now)
	wantKind(t, "unknown key", err, usage.NotFound)
	if !key.InForce(f.now) || key.InForce(f.now.Add(time.Hour)) {
		t.Errorf("%+v: in force at %v and not an hour later, got otherwise", key, f.now)
	}

	key.RevokedAt = f.now.Add(time.Minute)
	for range 2 {
		if got, err := f.RevokeKey(ctx, "backend", key.RevokedAt); err != nil || !reflect.DeepEqual(got, key) {
			t.Errorf("RevokeKey: got %+v, %v, want %+v", got, err, key)
		}
	}
	if key.InForce(f.now) {
		t.Errorf("revoked key %+v is in force", key)
	}
	if err := f.CreateKey(ctx, twin, twinHash); err != nil {
		t.Errorf("the name of a revoked key: %v", err)
	}
	if list, err := f.Keys(ctx); err != nil || len(list) != 2 || !reflect.DeepEqual(list, []store.Key{twin, key}) {
		t.Errorf("Keys: got %+v, %v, want %+v and %+v", list, err, twin, key)
	}
	if got, err := f.RevokeKey(ctx, twin.ID, f.now); err != nil || got.ID != twin.ID {
		t.Errorf("RevokeKey by id: got %+v, %v", got, err)
	}
	_, err = f.RevokeKey(ctx, "nobody", f.now)
	wantKind(t, "revoke unknown key", err, usage.NotFound)
}

func testDurability(t *testing.T, f *fixture) {
	secret := f.enrol(t, 1)
	if err := f.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	f.Store = f.reopen()
	if _, _, err := f.RouterBySecret(t.Context(), secret, f.now); err != nil {
		t.Errorf("after opening again: %v", err)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}
