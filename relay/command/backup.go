package command

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func (p *program) backupCommand() *cli.Command {
	return &cli.Command{
		Name:  "backup",
		Usage: "copy the database as it is now, while the relay serves",
		Description: `The copy is checked before it gets its name. It has the hashes of all keys and
secrets, so it is readable by its owner only.

To restore it: stop the relay, put the copy in the place of relay.db in the
data directory, remove relay.db-wal and relay.db-shm there, start the relay.
Routers then push again what the copy lacks.

Examples:

   netpilot-relay backup --to /var/backups/relay-2026-11-28.db
   netpilot-relay backup --to relay.db.backup --data /var/lib/netpilot-relay`,
		Flags:  []cli.Flag{dataFlag(), &cli.StringFlag{Name: "to", Usage: "write the copy to `FILE`, which must not exist"}},
		Action: p.backup,
	}
}

func (p *program) backup(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	to := c.String("to")
	if to == "" {
		return misusef(c, "name the copy with --to FILE")
	}
	return withData(c, false, func(db *sqlite.DB) error {
		if err := db.Backup(c.Context, to); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "the database is copied to %s\n", to)
		return nil
	})
}
