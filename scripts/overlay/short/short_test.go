package short

import "testing"

func TestName(t *testing.T) {
	for full, want := range map[string]string{
		"main.main":                         "main.main",
		"runtime.gopark":                    "runtime.gopark",
		"internal/runtime/maps.(*Map).Used": "internal/runtime/maps.(*Map).Used",
		"github.com/netpilot/netpilot/agent/history.(*Store).Append":                          "agent/history.(*Store).Append",
		"github.com/netpilot/netpilot/agent/history.Open.func1.2":                             "agent/history.Open.func1.2",
		"github.com/gorilla/websocket.(*Conn).Close":                                          "websocket.(*Conn).Close",
		"crypto/internal/fips140/nistec/fiat.p384Mul":                                         "fiat.p384Mul",
		"vendor/golang.org/x/net/dns/dnsmessage.(*Parser).Start":                              "dnsmessage.(*Parser).Start",
		"slices.SortFunc[go.shape.[]uint8,go.shape.struct { a/b.c string }]":                  "slices.SortFunc[...]",
		"sync/atomic.(*Pointer[go.shape.struct { a/b.c [2]int }]).Load":                       "atomic.(*Pointer[...]).Load",
		"github.com/netpilot/netpilot/pkg/sorting.Sort[github.com/netpilot/netpilot/pkg/x.Y]": "pkg/sorting.Sort[...]",
		"type:.eq.[2]github.com/netpilot/netpilot/pkg/usage.MAC":                              "type:.eq.[2]github.com/netpilot/netpilot/pkg/usage.MAC",
		"go:buildid": "go:buildid",
		"":           "",
	} {
		if got := Name(full); got != want {
			t.Errorf("%q: got %q, want %q", full, got, want)
		}
	}
}
