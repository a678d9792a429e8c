package sqlite

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// A database from before goose, as the program of that time wrote it, keeps
// all it has, and that program refuses it from then on.
func TestMigrateUserVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	script, err := os.ReadFile("testdata/user_version_1.sql")
	if err != nil {
		t.Fatal(err)
	}
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec(string(script)); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		db := mustOpen(t, path)
		r, _, err := db.RouterBySecret(t.Context(), store.HashOf("secret"), time.Now())
		if err != nil || r.Name != "old" || r.ID != storetest.RouterID(1) {
			t.Errorf("the router: got %+v, %v", r, err)
		}
		if k, err := db.KeyByHash(t.Context(), store.HashOf("key"), time.Now()); err != nil || k.Name != "backend" || k.Scope != store.ScopeRead || k.Routers != nil {
			t.Errorf("the key: got %+v, %v", k, err)
		}
		var version int
		if err := db.read.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version <= 1 {
			t.Errorf("got user_version %d, %v, want one that an older program refuses", version, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Programs that start together on one new file all get their tables.
func TestMigrateTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer db.Close()
			if _, _, err := db.Routers(t.Context(), store.RouterQuery{}); err != nil {
				t.Errorf("Routers: %v", err)
			}
		})
	}
	wg.Wait()
}

// A step that fails for another reason says which one and leaves nothing half done.
func TestMigrateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Exec("CREATE VIEW keys_name AS SELECT 1"); err != nil { // the name of an index
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "0001") {
		t.Errorf("got %v, want an error that names the step", err)
	}
	old, err = sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var tables int
	if err := old.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'routers'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("got %d tables of the failed step, %v", tables, err)
	}
}
