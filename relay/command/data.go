package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/relay/store/sqlite"
)

const (
	systemData = "/var/lib/netpilot-relay" // where a service keeps its data; used if it is there
	localData  = "netpilot-relay-data"     // else, in the current directory
	dbName     = "relay.db"
)

// dataFlag is --data, which every verb with a database has.
func dataFlag() cli.Flag {
	return &cli.StringFlag{
		Name:        "data",
		Usage:       "keep the data in `DIR`, the same for all commands",
		DefaultText: systemData + " if it exists, else ./" + localData,
		EnvVars:     []string{"NETPILOT_RELAY_DATA"},
	}
}

// dataDir is the directory that --data or its default names.
func dataDir(c *cli.Context) (dir string, chosen bool) {
	if dir := c.String("data"); dir != "" {
		return dir, true
	}
	if info, err := os.Stat(systemData); err == nil && info.IsDir() {
		return systemData, false
	}
	return localData, false
}

// openData opens the database in dir. It makes both if create is set; else
// their absence is an error, so that a forgotten --data shows at once.
func openData(ctx context.Context, dir string, create bool) (*sqlite.DB, error) {
	path := filepath.Join(dir, dbName)
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create the data directory: %w; choose another with --data DIR", err)
		}
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no relay keeps its data in %s; name the directory of yours with --data DIR, or start one: netpilot-relay serve", dir)
	}
	return sqlite.Open(ctx, path)
}

// withData runs f with the open database. A verb that adds something may be
// the first to use a directory that was named; one that reads may not.
func withData(c *cli.Context, adds bool, f func(db *sqlite.DB) error) (err error) {
	dir, chosen := dataDir(c)
	db, err := openData(c.Context, dir, adds && chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(db)
}
