package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func (p *program) keyCommand() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "let backends ask, and stop them",
		Subcommands: []*cli.Command{{
			Name:  "create",
			Usage: "make a key for the REST API",
			Description: `The key is printed once, alone on standard output; the relay keeps a hash.

Examples:

   netpilot-relay key create --name backend > key
   netpilot-relay key create --name ana --expires 90d`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.StringFlag{Name: "name", Usage: "call it `NAME`, to tell it from others (required)"},
				&cli.StringFlag{Name: "expires", Usage: "end it after `TIME`, like 24h or 90d", DefaultText: "never"},
			},
			Action: p.keyCreate,
		}, {
			Name:  "list",
			Usage: "list all keys, without the keys themselves",
			Description: `Examples:

   netpilot-relay key list
   netpilot-relay key list --format json`,
			Flags:  []cli.Flag{dataFlag(), formatFlag()},
			Action: p.keyList,
		}, {
			Name:      "revoke",
			Usage:     "end a key; it stops working within two seconds",
			ArgsUsage: "NAME|ID",
			Description: `Example:

   netpilot-relay key revoke backend`,
			Flags:  []cli.Flag{dataFlag()},
			Action: p.keyRevoke,
		}},
	}
}

func (p *program) keyCreate(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	name := c.String("name")
	if name == "" {
		return misusef(c, "--name is missing")
	}
	if usage.Clean(name, usage.MaxName) != name {
		return misusef(c, "--name is at most %d bytes that can be printed", usage.MaxName)
	}
	now := p.now()
	k := store.Key{ID: store.NewKeyID(), Name: name, CreatedAt: now}
	if c.String("expires") != "" {
		d, err := span(c, "expires")
		if err != nil {
			return err
		}
		k.ExpiresAt = now.Add(d)
	}
	return withData(c, true, func(db *sqlite.DB) error {
		secret, hash := store.NewSecret(store.KeyPrefix)
		if err := db.CreateKey(c.Context, k, hash); err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		fmt.Fprintln(p.stdout, secret)
		fmt.Fprintf(p.stderr, "This is key %s (%s); it is not shown again. Send it as \"Authorization: Bearer KEY\",\n"+
			"or put it into the relay's address as https://netpilot:KEY@ADDRESS.\n", k.ID, k.Name)
		return nil
	})
}

// keyItem is one key in JSON.
type keyItem struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	InForce   bool       `json:"in_force"`
	CreatedAt *time.Time `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	LastUsed  *time.Time `json:"last_used"`
	RevokedAt *time.Time `json:"revoked_at"`
}

func (p *program) keyList(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	table, err := p.isTable(c)
	if err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		list, err := db.Keys(c.Context)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if table {
			rows := make([][]string, 0, len(list))
			for _, k := range list {
				rows = append(rows, []string{k.ID, k.Name, stamp(k.CreatedAt), stamp(k.ExpiresAt), stamp(k.LastUsed), stamp(k.RevokedAt)})
			}
			return printTable(p.stdout, "ID NAME CREATED EXPIRES USED REVOKED", rows)
		}
		now := p.now()
		items := make([]keyItem, 0, len(list))
		for _, k := range list {
			items = append(items, keyItem{ID: k.ID, Name: k.Name, InForce: k.InForce(now), CreatedAt: unlessZero(k.CreatedAt),
				ExpiresAt: unlessZero(k.ExpiresAt), LastUsed: unlessZero(k.LastUsed), RevokedAt: unlessZero(k.RevokedAt)})
		}
		return printJSON(p.stdout, items)
	})
}

func (p *program) keyRevoke(c *cli.Context) error {
	if err := arguments(c, "NAME or ID"); err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		k, err := db.RevokeKey(c.Context, c.Args().First(), p.now())
		if err != nil {
			return fmt.Errorf("revoke key: %w", err)
		}
		fmt.Fprintf(p.stderr, "Revoked key %s (%s).\n", k.ID, k.Name)
		return nil
	})
}
