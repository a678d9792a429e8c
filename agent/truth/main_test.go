package truth

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/agent/netfilter/netfiltertest"
)

func TestMain(m *testing.M) {
	if netfiltertest.Inside() {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
