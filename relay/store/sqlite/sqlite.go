// Package sqlite keeps the relay's store in one SQLite file. The file may be
// open in several processes at once, as when an operator enrols a router
// while the relay serves.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite", without cgo

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
)

var _ store.Store = (*DB)(nil)

// readers bounds the connections that read at once.
const readers = 4

// DB is an open database.
type DB struct {
	path  string
	read  *sql.DB
	write *sql.DB // one connection: SQLite has one writer, and waiting here is cheaper than being refused there
	stmts statements

	jobs    chan *job     // to the writer; not buffered, so what it has not taken is still its caller's
	closing chan struct{} // closed by Close
	written chan struct{} // closed when the writer has ended
	once    sync.Once     // of Close

	counting atomic.Bool // devices are counted

	mu      sync.Mutex // guards answers
	answers map[answerKey]store.Answer
}

// Open opens the database at path, creates it with mode 0600 if there is none,
// and brings its tables up to date. It refuses a file written by a newer
// program.
func Open(ctx context.Context, path string) (*DB, error) {
	// SQLite would create the file readable for all. One that exists is not
	// touched: closing a second descriptor of it would drop the locks that
	// this process holds (fcntl(2), "record locks").
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create database: %w; check the owner of the data directory, its mode and its file system", err)
	}
	db := &DB{path: path, jobs: make(chan *job), closing: make(chan struct{}), answers: make(map[answerKey]store.Answer)}
	if db.write, err = open(path, 1, url.Values{"_txlock": {"immediate"}}); err != nil {
		return nil, err
	}
	if err := migrate(ctx, db.write); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, explain(err)), db.Close())
	}
	if db.read, err = open(path, readers, url.Values{}, "query_only(1)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.stmts.prepare(ctx, db.write); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, explain(err)), db.Close())
	}
	db.written = make(chan struct{})
	go db.writer() // ends by Close, which waits for it
	return db, nil
}

func open(path string, conns int, params url.Values, pragmas ...string) (*sql.DB, error) {
	params["_pragma"] = append([]string{
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // an enrolment or revocation that was answered survives a power cut
		"foreign_keys(1)",
	}, pragmas...)
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: params.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// Close closes the database; calling it twice is harmless.
func (db *DB) Close() error {
	db.once.Do(func() { close(db.closing) })
	if db.written != nil {
		<-db.written
	}
	var errs []error
	for _, d := range []*sql.DB{db.read, db.write} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// Check reads every page for damage (SQLite's quick_check).
func (db *DB) Check(ctx context.Context) error {
	var verdict string
	if err := db.read.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check database: %w", explain(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("the database is damaged (%s); restore it from a backup, or move it away and enrol anew", verdict)
	}
	return nil
}

// inTx runs f in one write transaction.
func (db *DB) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	if err := f(tx); err != nil {
		return errors.Join(explain(err), ignoreDone(tx.Rollback()))
	}
	return explain(tx.Commit())
}

// ignoreDone drops the error of rolling back what a cancelled context has
// rolled back already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// changed runs one statement and tells how many rows it changed.
func (db *DB) changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := db.write.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// millis is how a time is kept: Unix milliseconds, 0 for never.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment reads what millis wrote.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// missing turns an empty answer into kind NotFound with the message.
func missing(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return usage.Errorf(usage.NotFound, format, args...)
	}
	return explain(err)
}
