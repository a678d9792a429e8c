package method

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

// TestParamsAreReal calls each method with each of its parameters as a thing
// that no type takes: the handler must know the name and refuse the value. A
// name that no handler reads would pass.
func TestParamsAreReal(t *testing.T) {
	a, _ := newAgent(t, "live-lab")
	a.Root = t.TempDir()
	table := New(a)
	for _, name := range table.Names(AccessOwner) {
		params := table.Params(name)
		if params == nil {
			t.Errorf("%s: its parameters are not listed", name)
		}
		for _, p := range params {
			base := ""
			if name == "devices.set" {
				base = `"mac":"02:77:00:00:00:11",`
			}
			_, err := table.Call(context.Background(), AccessOwner, name, []byte(fmt.Sprintf(`{%s%q:{"a":[]}}`, base, p.Name)))
			if usage.KindOf(err) != usage.Invalid || !strings.Contains(fmt.Sprint(err), p.Name) {
				t.Errorf("%s: parameter %s: got %v, want its refusal", name, p.Name, err)
			}
		}
	}
	if got := table.Params("usage.current"); !slices.Contains(got, Param{"limit", Number}) || !slices.Contains(got, Param{"mac", Text}) {
		t.Errorf("usage.current: got %v", got)
	}
	if got := table.Params("sh"); got != nil {
		t.Errorf("no method: got %v", got)
	}
	if got, want := len(takes()), len(table.entries); got != want {
		t.Errorf("%d methods have parameters, the table has %d", got, want)
	}
}
