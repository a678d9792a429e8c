package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustOpen(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return db
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (store.Store, func() store.Store) {
		path := filepath.Join(t.TempDir(), "a dir with %41?&.db")
		return mustOpen(t, path), func() store.Store { return mustOpen(t, path) }
	})
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	db := mustOpen(t, path)
	defer db.Close()
	if err := db.AllOffline(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s: got mode %o, want 600", filepath.Base(name), got)
		}
	}
}

// Two programs on one file, as the relay and an operator's command.
func TestTwoHandles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	one := mustOpen(t, path)
	defer one.Close()
	two := mustOpen(t, path)
	defer two.Close()
	now := time.UnixMilli(1_795_000_000_000)
	_, hash := store.NewSecret(store.KeyPrefix)
	if err := one.CreateKey(t.Context(), store.Key{ID: "1", Scope: store.ScopeRead, Name: "k", CreatedAt: now}, hash); err != nil {
		t.Fatal(err)
	}
	if k, err := two.KeyByHash(t.Context(), hash, now); err != nil || k.Name != "k" {
		t.Errorf("the other handle: got %+v, %v", k, err)
	}
}

func TestRefuseNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	db := mustOpen(t, path)
	if _, err := db.write.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "update netpilot-relay") {
		t.Errorf("got %v, want advice to update netpilot-relay", err)
	}
}

func TestNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.db")
	db := mustOpen(t, path)
	var page int
	if err := db.read.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'routers'").Scan(&page); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4096 // SQLite's default
	for i := (page - 1) * size; i < page*size; i++ {
		content[i] ^= 0x5a
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path)
	if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Check: got %v, want the damage", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for i := size; i < len(content); i++ { // all pages after the schema
		content[i] ^= 0x5a
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "damaged; restore it from a backup") {
		t.Errorf("Open: got %v, want the damage and the next step", err)
	}
}

// A backup of a database in use is whole, private, and never half there.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, filepath.Join(dir, "relay.db"))
	defer db.Close()
	_, hash := store.NewSecret(store.KeyPrefix)
	if err := db.CreateKey(t.Context(), store.Key{ID: "1", Name: "k", Scope: "read", CreatedAt: time.UnixMilli(1_795_000_000_000)}, hash); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy of %41.db")
	if err := os.WriteFile(path+".part", []byte("of an attempt that was cut off"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 600", info, err)
	}
	if err := db.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("over another file: got %v", err)
	}
	if err := db.Backup(t.Context(), filepath.Join(dir, "no", "such")); err == nil {
		t.Error("into no directory: got no error")
	}
	copied := mustOpen(t, path)
	defer copied.Close()
	if k, err := copied.KeyByHash(t.Context(), hash, time.UnixMilli(1_795_000_000_001)); err != nil || k.Name != "k" {
		t.Errorf("got %+v, %v", k, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
