package gateway_test

import (
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/store"
)

// rotatable opens a link of an agent that can change its secret.
func (r *rig) rotatable(secret string, id usage.RouterID) *agent {
	r.t.Helper()
	a := r.open(secret)
	params, _ := json.Marshal(wire.Hello{RouterID: string(id), Methods: []string{"status", wire.MethodRotate}})
	a.send(wire.AppendCall(nil, 1, "hello", params, 0))
	if m := a.read(); m.ID != 1 || m.Result == nil {
		r.t.Fatalf("welcome: got %+v", m)
	}
	return a
}

// want asks for a rotation with that overlap.
func (r *rig) wantRotation(overlap time.Duration) {
	r.t.Helper()
	if _, err := r.db.WantRotation(r.t.Context(), nil, overlap); err != nil {
		r.t.Fatal(err)
	}
}

// step reads one call of a rotation, checks its confirm, and answers it.
func (a *agent) step(confirm, answer string) {
	a.t.Helper()
	m := a.read()
	var p wire.RotateParams
	if err := json.Unmarshal(m.Params, &p); err != nil || m.Method != wire.MethodRotate || p.Confirm != confirm {
		a.t.Fatalf("got call %s %s, %v, want %s confirming %q", m.Method, m.Params, err, wire.MethodRotate, confirm)
	}
	result, _ := json.Marshal(wire.RotateReply{Hash: answer})
	a.send(wire.AppendResult(nil, m.ID, result))
}

// standing is what a secret is to router1 now.
func (r *rig) standing(secret string) (store.Standing, bool) {
	r.t.Helper()
	_, standing, err := r.db.RouterBySecret(r.t.Context(), store.HashOf(secret), time.Now())
	if err != nil && usage.KindOf(err) != usage.NotFound {
		r.t.Fatal(err)
	}
	return standing, err == nil
}

func TestRotate(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex // guards told
		var told []audit.Entry
		r.gateway.Audit = func(e audit.Entry) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e)
		}
		old := r.enrol(router1)
		fresh := "npr_fresh"
		a := r.rotatable(old, router1)
		r.wantRotation(time.Hour)
		a.step("", wire.HashSecret(fresh))
		a.step(wire.HashSecret(fresh), wire.HashSecret(fresh))
		synctest.Wait()
		if s, ok := r.standing(fresh); !ok || s != (store.Standing{}) {
			t.Errorf("the new secret: got %+v, %v, want the present one", s, ok)
		}
		if s, ok := r.standing(old); !ok || time.Until(s.Until).Round(time.Minute) != time.Hour {
			t.Errorf("the old secret: got %+v, %v, want good for an hour", s, ok)
		}
		mu.Lock()
		defer mu.Unlock()
		if last := told[len(told)-1]; last.Method != wire.MethodRotate || last.Result != audit.OK || last.Router != router1 {
			t.Errorf("the audit log was told %+v last", last)
		}
		time.Sleep(10 * time.Second)
		r.wantOnline(router1, true) // on the link of before
	})
}

// Where a crash leaves the relay between the steps, the next connect finishes
// the change or it begins anew.
func TestRotationIsCutOff(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		old, fresh, fresher := r.enrol(router1), "npr_fresh", "npr_fresher"
		r.wantRotation(0)
		a := r.rotatable(old, router1) // asked at connect
		a.step("", wire.HashSecret(fresh))
		a.read() // the confirmation, which is not answered
		a.ws.Close()
		synctest.Wait()
		for _, secret := range []string{old, fresh} {
			if _, ok := r.standing(secret); !ok {
				t.Errorf("secret %s does not work in the middle of the change", secret)
			}
		}
		// It did not store the new one, comes with the old one, and is asked
		// again.
		a = r.rotatable(old, router1)
		a.step("", wire.HashSecret(fresher))
		a.read()
		a.ws.Close()
		synctest.Wait()
		// It stored that one and comes with it: that proves it.
		r.rotatable(fresher, router1)
		synctest.Wait()
		for secret, want := range map[string]bool{old: false, fresh: false, fresher: true} {
			if _, ok := r.standing(secret); ok != want {
				t.Errorf("secret %s: got good %v, want %v", secret, ok, want)
			}
		}
		r.wantOnline(router1, true)
	})
}

// A router that answers nonsense, or another's hash, keeps the secret it has.
func TestRotationIsRefused(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		old := r.enrol(router1)
		other := r.enrol("0000000000000000000000000000000000000000000000000000000000000002")
		for _, answer := range []string{"", "zz", "00", wire.HashSecret(old), wire.HashSecret(other)} {
			r.wantRotation(0)
			a := r.rotatable(old, router1)
			a.step("", answer)
			synctest.Wait()
			if s, ok := r.standing(old); !ok || s != (store.Standing{}) {
				t.Errorf("after the answer %q: got %+v, %v", answer, s, ok)
			}
			a.ws.Close()
		}
		a := r.connect(old, router1) // an agent of before rotation
		time.Sleep(time.Hour)
		if _, ok := r.standing(old); !ok {
			t.Error("an agent that cannot change its secret was locked out")
		}
		a.ws.Close()
	})
}

// A link under the old secret ends soon after the overlap.
func TestOverlapEnds(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		old, fresh := r.enrol(router1), "npr_fresh"
		a := r.rotatable(old, router1)
		r.wantRotation(20 * time.Second)
		a.step("", wire.HashSecret(fresh))
		a.step(wire.HashSecret(fresh), wire.HashSecret(fresh))
		synctest.Wait()
		thief := r.rotatable(old, router1)
		a.wantClose(wire.CloseReplaced, "newer link")
		began := time.Now()
		thief.wantClose(wire.CloseReplaced, "replaced by a newer one")
		if took := time.Since(began); took > 20*time.Second+store.SeenEvery {
			t.Errorf("closed after %v, want at most %v", took, 20*time.Second+store.SeenEvery)
		}
		if _, resp, err := r.dial(old, nil); err == nil || resp.StatusCode != 401 {
			t.Errorf("the old secret after the overlap: got %v, want 401", err)
		}
	})
}

func TestPace(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		r.gateway.Pace(2)
		secret := r.enrol(router1)
		waits := map[string]int{}
		for range 8 {
			ws, resp, err := r.dial(secret, nil)
			if err == nil {
				waits["up"]++
				ws.Close()
				synctest.Wait()
				continue
			}
			if resp.StatusCode != 503 || refusal(t, resp).Kind != "busy" {
				t.Errorf("got %d, want 503 busy", resp.StatusCode)
			}
			waits[resp.Header.Get("Retry-After")]++
		}
		if waits["up"] != 2 || waits["1"] != 2 || waits["2"] != 2 || waits["3"] != 2 {
			t.Errorf("got %v, want two a second: two up and two each to come in 1, 2 and 3 s", waits)
		}
		// A wrong secret takes nobody's turn.
		time.Sleep(time.Second)
		for range 100 {
			if _, resp, err := r.dial("npr_wrong", nil); err == nil || resp.StatusCode != 401 {
				t.Fatalf("a wrong secret: got %v", err)
			}
		}
		if ws, _, err := r.dial(secret, nil); err != nil {
			t.Errorf("after wrong secrets: %v", err)
		} else {
			ws.Close()
		}
	})
}
