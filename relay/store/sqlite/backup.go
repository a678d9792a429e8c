package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Backup writes a copy of the database as it is at one instant to a new file of
// mode 0600, checks the copy, and only then gives it its name. The relay may
// serve meanwhile. To restore one, put it in the place of the database while no
// program has that open, without the -wal and -shm files beside it.
func (db *DB) Backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s exists already; name another file, or move it away", path)
		}
		return err
	}
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier backup left: %w", err)
	}
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite takes an empty file
	if err != nil {
		return fmt.Errorf("make the backup: %w; make the directory, or name another file with --to", err)
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	// A connection of its own: the writing one must not be held so long, and
	// those for reading may not write any file.
	from, err := open(db.path, 1, url.Values{})
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := from.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return fmt.Errorf("write the backup: %w", explain(err))
	}
	if err := f.Sync(); err != nil { // VACUUM INTO does not
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := checkCopy(ctx, part); err != nil {
		return fmt.Errorf("the backup is not good: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("name the backup: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("name the backup: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// checkCopy reads a database that nobody else has open, whole.
func checkCopy(ctx context.Context, path string) error {
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "immutable=1&mode=ro"}
	copied, err := sql.Open("sqlite", name.String())
	if err != nil {
		return err
	}
	defer copied.Close()
	var verdict string
	if err := copied.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return explain(err)
	}
	if verdict != "ok" {
		return errors.New(verdict)
	}
	return nil
}
