package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// client is an HTTP client whose connections end with each answer.
func (r *rig) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: r.pipes.Dial, DisableKeepAlives: true}}
}

// token makes a token for an hour.
func (r *rig) token() string {
	r.t.Helper()
	token, hash := store.NewSecret(store.TokenPrefix)
	now := time.Now()
	if err := r.db.CreateToken(r.t.Context(), store.Token{CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, hash); err != nil {
		r.t.Fatal(err)
	}
	return token
}

// post sends a body to the enrolment.
func (r *rig) post(body string) *http.Response {
	r.t.Helper()
	resp, err := r.client().Post("http://relay"+wire.EnrolPath, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func enrolBody(token string, id usage.RouterID) string {
	body, _ := json.Marshal(wire.EnrolRequest{Token: token, RouterID: string(id), Name: "attic\x1b[31m", Model: "box", AgentVersion: "1.2.3"})
	return string(body)
}

func TestEnrol(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		resp := r.post(enrolBody(r.token(), router1))
		var got wire.EnrolReply
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode != 200 || got.RouterID != string(router1) {
			t.Fatalf("got %d %+v, %v", resp.StatusCode, got, err)
		}
		row, err := r.db.Router(t.Context(), router1)
		if err != nil || row.Name != "attic[31m" || row.Model != "box" || row.AgentVersion != "1.2.3" {
			t.Errorf("row: got %+v, %v", row, err)
		}
		r.connect(got.Secret, router1)
	})
}

// Enrolling again replaces the secret and ends the link under the old one.
func TestEnrolAgain(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		old := r.enrol(router1)
		a := r.connect(old, router1)
		resp := r.post(enrolBody(r.token(), router1))
		var got wire.EnrolReply
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		a.wantClose(wire.CloseReplaced, "enrolled again")
		if _, resp, err := r.dial(old, nil); err == nil || resp.StatusCode != 401 {
			t.Errorf("old secret: got %v, want 401", err)
		}
		r.connect(got.Secret, router1)
	})
}

func TestRefuseEnrolment(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		used := r.token()
		if resp := r.post(enrolBody(used, router1)); resp.StatusCode != 200 {
			t.Fatalf("good token: got %d", resp.StatusCode)
		}
		expired := r.token()
		time.Sleep(time.Hour)
		var answers []wire.RefusalError
		for _, token := range []string{used, expired, "npe_wrong"} {
			resp := r.post(enrolBody(token, router1))
			answers = append(answers, refusal(t, resp))
			if resp.StatusCode != 403 {
				t.Errorf("got %d, want 403", resp.StatusCode)
			}
		}
		if answers[0].Kind != "forbidden" || answers[1] != answers[0] || answers[2] != answers[0] {
			t.Errorf("got %+v, want the same refusal for a used, an expired and a wrong token", answers)
		}
		for name, body := range map[string]string{
			"no JSON":   "token=x",
			"no token":  enrolBody("", router1),
			"bad id":    enrolBody("x", "../../etc"),
			"too large": enrolBody(strings.Repeat("x", 4<<10), router1),
			"empty":     "",
		} {
			resp := r.post(body)
			if got := refusal(t, resp); resp.StatusCode != 400 || got.Kind != "invalid" {
				t.Errorf("%s: got %d %+v, want 400 invalid", name, resp.StatusCode, got)
			}
		}
		resp, err := r.client().Get("http://relay" + wire.EnrolPath)
		if err != nil {
			t.Fatal(err)
		}
		if got := refusal(t, resp); resp.StatusCode != 405 || got.Kind != "invalid" {
			t.Errorf("GET: got %d %+v, want 405", resp.StatusCode, got)
		}
	})
}

func TestOneTokenOneRouter(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		token := r.token()
		var wg sync.WaitGroup
		var mu sync.Mutex
		status := map[int]int{}
		for i := range 50 {
			wg.Go(func() {
				resp := r.post(enrolBody(token, storetest.RouterID(i)))
				mu.Lock()
				defer mu.Unlock()
				status[resp.StatusCode]++
			})
		}
		wg.Wait()
		if status[200] != 1 || status[403]+status[429] != 49 {
			t.Errorf("got statuses %v, want one 200 and 49 refusals", status)
		}
	})
}

func TestTooManyFailedEnrolments(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		for i := range 20 {
			if resp := r.post(enrolBody(fmt.Sprint("guess", i), router1)); resp.StatusCode != 403 {
				t.Fatalf("guess %d: got %d, want 403", i, resp.StatusCode)
			}
		}
		token := r.token()
		resp := r.post(enrolBody(token, router1))
		if got := refusal(t, resp); resp.StatusCode != 429 || got.Kind != "busy" || resp.Header.Get("Retry-After") != "3" {
			t.Errorf("got %d %+v, Retry-After %q, want 429 busy 3", resp.StatusCode, got, resp.Header.Get("Retry-After"))
		}
		time.Sleep(3 * time.Second)
		if resp := r.post(enrolBody(token, router1)); resp.StatusCode != 200 {
			t.Errorf("3 s later: got %d, want 200", resp.StatusCode)
		}
	})
}

func TestRevokeLiveLink(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		secret := r.enrol(router1)
		a := r.connect(secret, router1)
		early := r.open(secret)
		out := r.calls(t.Context(), router1, 2)
		synctest.Wait()
		began := time.Now()
		if err := r.db.RevokeRouter(t.Context(), router1, time.Now()); err != nil {
			t.Fatal(err)
		}
		a.wantClose(wire.CloseRevoked, "revoked")
		early.wantClose(wire.CloseRevoked, "revoked")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("closed after %v, want at most 2s", took)
		}
		wantKinds(t, out, 2, usage.Offline)
	})
}

// Who is connected is kept up to date in the store for other programs.
func TestPresenceIsKept(t *testing.T) {
	simulate(t, func(t *testing.T, r *rig) {
		a := r.connect(r.enrol(router1), router1)
		go a.answer(echo)
		for range 10 {
			time.Sleep(store.SeenEvery)
			a.send(wire.AppendNotify(nil, "alive", nil))
			synctest.Wait()
			r.wantOnline(router1, true)
		}
	})
}
