package truth

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(kernelChild) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
