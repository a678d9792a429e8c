package method

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/agent/live"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// TestBadParams is what each method says to params of a wrong type, size or
// range, and to words it does not know.
func TestBadParams(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	a.History = fakeHistory{}
	a.Live = live.New(&live.Stream{})
	a.Root = t.TempDir()
	if err := os.MkdirAll(filepath.Join(a.Root, "etc/config"), 0o755); err != nil {
		t.Fatal(err)
	}
	const mac = `"mac":"02:77:00:00:00:11"`
	long, longer := strings.Repeat("x", 65), strings.Repeat("x", 5000)
	lists := []string{"usage.current", "usage.records", "usage.device"}
	spans := []string{"usage.history", "usage.summary"}
	paged := []string{"usage.current", "usage.records", "usage.device", "usage.history", "devices.list"}
	all := []string{
		"status", "usage.current", "usage.records", "usage.device", "usage.history", "usage.summary", "usage.reset", "usage.live",
		"devices.list", "devices.set", "preferences.set", "nlbw", "router.text",
	}
	one := func(name string) []string { return []string{name} }
	rows := []struct {
		methods []string
		params  string
		want    string
	}{
		{all, `[]`, "bad params"},
		{all, `"mac"`, "bad params"},
		{all, `7`, "bad params"},
		{all, `{"limit":1`, "bad params"},
		{all, "{\"a\":\"\x01\"}", "bad params"},
		{one("status"), `{"brief":1}`, "bad params"},
		{one("status"), `{"brief":"yes"}`, "bad params"},

		{paged, `{"limit":"7"}`, "bad params"},
		{paged, `{"limit":1.5}`, "bad params"},
		{paged, `{"limit":99999999999999999999}`, "bad params"},
		{paged, `{"offset":true}`, "bad params"},
		{paged, `{"limit":-1}`, "must not be negative"},
		{paged, `{"offset":-9223372036854775808}`, "must not be negative"},
		{paged, `{"mac":7}`, "bad params"},
		{paged, `{"mac":"02:77:00:00:00"}`, "not a MAC address"},
		{paged, `{"mac":"02:77:00:00:00:1g"}`, "not a MAC address"},
		{paged, `{"mac":"` + longer + `"}`, "not a MAC address"},
		{paged, `{"group":7}`, "bad params"},
		{paged, `{"name":["tv"]}`, "bad params"},
		{paged, `{"category":"nonsense",` + mac + `}`, "choose one of streaming"},
		{one("usage.summary"), `{"category":"nonsense"}`, "choose one of streaming"},
		{one("usage.summary"), `{"by":"vendor"}`, "choose group or category"},

		{lists, `{"sort":"name"}`, "choose total, rx, tx or conns"},
		{lists, `{"sort":"` + longer + `"}`, "cannot sort by"},
		{lists, `{"period":"2026-11"}`, "not a period"},
		{lists, `{"period":"24"}`, "not a period"},
		{lists, `{"period":"../../etc/passwd"}`, "not a period"},
		{lists, `{"period":"2026-13-01"}`, "not a period"},
		{one("usage.device"), ``, "needs a mac"},
		{one("usage.device"), `null`, "needs a mac"},
		{one("usage.device"), `{}`, "needs a mac"},
		{one("usage.device"), `{"mac":null}`, "needs a mac"},
		{one("usage.device"), `{"mac":"00:00:00:00:00:00"}`, "is no device"},

		{spans, `{"timeframe":"2h"}`, "choose 1h, 24h, 7d or 30d"},
		{spans, `{"timeframe":"` + longer + `"}`, "choose 1h, 24h, 7d or 30d"},
		{spans, `{"days":-1}`, "from 1 to 400"},
		{spans, `{"days":401}`, "from 1 to 400"},
		{spans, `{"days":9223372036854775807}`, "from 1 to 400"},
		{spans, `{"days":"1"}`, "bad params"},
		{spans, `{"days":1,"timeframe":"1h"}`, "give one of"},
		{spans, `{"from":"yesterday"}`, "from"},
		{spans, `{"from":"2026-11-02","to":"2026-11-01"}`, "is not before"},
		{spans, `{"from":"2026-11-02","to":"2026-11-02"}`, "is not before"},
		{spans, `{"from":"1970-01-01","to":"2026-11-01"}`, "longer than 400 days"},
		{spans, `{"to":"2026-11-01"}`, "to needs from"},
		{one("usage.history"), `{"resolution":"1s"}`, "resolution"},
		{one("usage.history"), `{"resolution":"7m"}`, "resolution"},
		{one("usage.history"), `{"resolution":"-5m"}`, "resolution"},
		{one("usage.history"), `{"by":"colour"}`, "choose total, device, service, family, group, category or quarantined"},
		{one("usage.history"), `{"by":"service",` + mac + `}`, "device"},
		{one("usage.history"), `{"service":7}`, "bad params"},
		{one("usage.summary"), `{"limit":0}`, "from 1 to 1000"},
		{one("usage.summary"), `{"limit":1001}`, "from 1 to 1000"},

		{one("usage.reset"), ``, "id"},
		{one("usage.reset"), `{"id":""}`, "id"},
		{one("usage.reset"), `{"id":"` + long + `"}`, "id"},
		{one("usage.reset"), `{"id":"a\u001b"}`, "id"},
		{one("usage.reset"), `{"id":7}`, "bad params"},
		{one("usage.reset"), `{"id":"a","mac":"x"}`, "not a MAC address"},
		{one("usage.reset"), `{"id":"a","mac":"00:00:00:00:00:00"}`, "is no device"},
		{one("usage.reset"), `{"id":"a","hard":"yes"}`, "bad params"},
		{one("usage.reset"), `{"id":"a","hard":true,` + mac + `}`, "leave mac and clear out"},

		{one("usage.live"), ``, "start"},
		{one("usage.live"), `{"action":"pause"}`, "start"},
		{one("usage.live"), `{"action":1}`, "bad params"},

		{one("devices.list"), `{"sort":"total"}`, "choose name, mac, ip or last_seen"},
		{one("devices.list"), `{"online":"yes"}`, "bad params"},
		{one("devices.set"), `{}`, "not a MAC address"},
		{one("devices.set"), `{` + mac + `}`, "needs alias"},
		{one("devices.set"), `{"mac":"00:00:00:00:00:00","alias":"x"}`, "is no device's address"},
		{one("devices.set"), `{"mac":"01:00:5e:00:00:01","alias":"x"}`, "is no device's address"},
		{one("devices.set"), `{` + mac + `,"alias":7}`, "must be a string or null"},
		{one("devices.set"), `{` + mac + `,"alias":"` + longer + `"}`, "printable text"},
		{one("devices.set"), `{` + mac + `,"alias":"a\u001b[2J"}`, "printable text"},
		{one("devices.set"), `{` + mac + `,"group":"a\u202eb"}`, "printable text"},
		{one("devices.set"), `{` + mac + `,"category":"spaceship"}`, "choose one of"},
		{one("devices.set"), `{` + mac + `,"same_as":"x"}`, "not a MAC address"},
		{one("devices.set"), `{` + mac + `,"same_as":true}`, "same_as must be"},
		{one("devices.set"), `{` + mac + `,"forget":true,"alias":"x"}`, "forget goes alone"},

		{one("preferences.set"), `{"shiny":1}`, "no option"},
		{one("preferences.set"), `{"history_days":"35"}`, "it takes"},
		{one("preferences.set"), `{"history_days":0}`, "it takes"},
		{one("preferences.set"), `{"history_days":401}`, "it takes"},
		{one("preferences.set"), `{"history_days":1e99}`, "it takes"},
		{one("preferences.set"), `{"enabled":"yes"}`, "it takes"},
		{one("preferences.set"), `{"enabled":null}`, "it takes"},
		{one("preferences.set"), `{"log_level":"loud"}`, "it takes"},
		{one("preferences.set"), `{"remote_access":"root"}`, "it takes"},
		{one("preferences.set"), `{"log_level":"warn","history_days":-1}`, "it takes"},

		{one("router.text"), ``, "no text"},
		{one("router.text"), `{"what":"../etc/shadow"}`, "choose one of arp, dev"},
		{one("router.text"), `{"what":["arp"]}`, "bad params"},

		{one("nlbw"), `{"args":"-c json"}`, "bad params"},
		{one("nlbw"), `{"args":[1]}`, "bad params"},
		{one("nlbw"), argsOf(strings.Fields(strings.Repeat("-n ", maxArgs+1))...), "at most 32 arguments"},
		{one("nlbw"), argsOf("-g", strings.Repeat("x", maxArgLen+1)), "at most 256 bytes"},
	}
	table := New(a)
	ctx := wire.WithPeer(t.Context(), nobodyThere{})
	tested := map[string]bool{"audit": true, "hello": true, "doctor": true, "network.scan": true, "preferences.get": true} // take none
	for _, tt := range rows {
		for _, name := range tt.methods {
			tested[name] = true
			_, err := table.Call(ctx, AccessWrite, name, json.RawMessage(tt.params))
			if err == nil || usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\u202e") {
				t.Errorf("%s %.80s: got %v, want invalid, %q", name, tt.params, err, tt.want)
			}
		}
	}
	for _, name := range table.Names(AccessOwner) {
		if !tested[name] {
			t.Errorf("%s is not tested", name)
		}
	}
	// Nothing of that was done.
	if text, err := os.ReadFile(filepath.Join(a.Root, "etc/config/netpilot")); err == nil {
		t.Errorf("options were written: %s", text)
	}
	var got current
	if call(t, a, AccessRead, "usage.current", "", &got); got.ResetAt != nil || got.Total != 16816186 {
		t.Errorf("something was reset: %+v", got)
	}
}
