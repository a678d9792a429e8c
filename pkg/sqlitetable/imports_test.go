package sqlitetable_test

import (
	"os"
	osexec "os/exec"
	"strings"
	"testing"
)

// The package is for machines on which modernc.org/sqlite does not build.
func TestImports(t *testing.T) {
	cmd := osexec.Command("go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=mips", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(dep, "modernc.org/") || dep == "database/sql" {
			t.Errorf("got %s among the imports, want a package that builds for mips", dep)
		}
	}
}
