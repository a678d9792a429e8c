package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// migrations are the steps from an empty file to the tables of today, in the
// order of their numbers. A step that was released is never edited; there is
// no way down, which is what backups are for.
//
//go:embed migration/*.sql
var migrations embed.FS

// migrate does the steps a database lacks, each in one transaction.
func migrate(ctx context.Context, db *sql.DB) error {
	steps, err := fs.Sub(migrations, "migration")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	// Of two programs that start together each step is done by one, and the
	// other fails at it after waiting. It can do so once at each step.
	for range 1 + len(p.ListSources()) {
		if err = up(ctx, p); !outrun(err) {
			break
		}
	}
	return err
}

func up(ctx context.Context, p *goose.Provider) error {
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return fmt.Errorf("the database is of version %d and this program knows versions up to %d; update netpilot-relay",
			current, target)
	}
	if current == target {
		return nil
	}
	_, err = p.Up(ctx)
	var step *goose.PartialError
	if errors.As(err, &step) && step.Failed != nil {
		return fmt.Errorf("step %s: %w", path.Base(step.Failed.Source.Path), err)
	}
	return err
}

// outrun tells whether the error may be of a step that another program has
// done meanwhile: its tables exist, or its number is taken.
func outrun(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_ERROR || e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT)
}
