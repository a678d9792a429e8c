package api

import (
	"context"
	"encoding/json"
	"regexp"
	"testing"
)

func TestChanges(t *testing.T) {
	r := newRig(t)
	var got string
	r.routers.answer = func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		got = method + " " + string(params)
		return json.RawMessage(`{}`), nil
	}
	ids := "?routerId=" + id(connected)
	inBody := `{"routerId":"` + id(connected) + `","alias":"Anna"}`
	random := regexp.MustCompile(`"id":"[A-Z2-7]{26}"`)
	for _, test := range []struct{ method, target, body, sent string }{
		{"POST", "reset" + ids, "", `usage.reset {"id":"RANDOM"}`},
		{"POST", "reset" + ids, `{}`, `usage.reset {"id":"RANDOM"}`},
		{"POST", "reset" + ids, `{"id":"a1","mac":"02-77-00-00-00-AA","hard":true}`, `usage.reset {"mac":"02:77:00:00:00:aa","hard":true,"id":"a1"}`},
		{"PUT", "device/02:77:00:00:00:AA" + ids, `{"alias":"Anna","group":null}`, `devices.set {"alias":"Anna","group":null,"mac":"02:77:00:00:00:aa"}`},
		{"PUT", "device/02:77:00:00:00:AA", inBody, `devices.set {"alias":"Anna","mac":"02:77:00:00:00:aa"}`},
		{"GET", "preferences" + ids, `{}`, `preferences.get `},
		{"PUT", "preferences" + ids, `{"a":1,"b":[2]}`, `preferences.set {"a":1,"b":[2]}`},
	} {
		want(t, test.target, r.do(test.method, "/api/device-usage/"+test.target, test.body, nil), 200, "")
		if got := random.ReplaceAllString(got, `"id":"RANDOM"`); got != test.sent {
			t.Errorf("%s %s: got %s, want %s", test.target, test.body, got, test.sent)
		}
	}
	got = ""
	for _, test := range []struct{ method, target, body string }{
		{"POST", "reset" + ids, `{"id":`},
		{"POST", "reset" + ids, `[]`},
		{"POST", "reset" + ids, `{"macs":""}`},
		{"POST", "reset" + ids, `{"mac":"phone"}`},
		{"POST", "reset" + ids, `{"hard":"yes"}`},
		{"POST", "reset" + ids, `{"id":"\u0000"}`},
		{"PUT", "device/phone" + ids, `{"alias":"x"}`},
		{"PUT", "device/02:77:00:00:00:aa" + ids, `{}`},
		{"PUT", "device/02:77:00:00:00:aa" + ids, ``},
		{"PUT", "device/02:77:00:00:00:aa" + ids, `{"alias":5}`},
		{"PUT", "device/02:77:00:00:00:aa" + ids, `{"mac":"02:77:00:00:00:bb"}`},
		{"PUT", "preferences" + ids, `{}`},
		{"PUT", "preferences" + ids, `"x"`},
	} {
		want(t, test.target+" "+test.body, r.do(test.method, "/api/device-usage/"+test.target, test.body, nil), 400, "BAD_REQUEST")
	}
	if got != "" {
		t.Errorf("a bad request reached the router: %s", got)
	}
}
