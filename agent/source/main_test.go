package source

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(dialFromChild); path != "" {
		os.Exit(dumpAsChild(path))
	}
	goleak.VerifyTestMain(m)
}
