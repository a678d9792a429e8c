package command

import (
	"fmt"
	"slices"
	"strconv"
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
A key with --router knows of no others: to it they do not exist.

Examples:

   netpilot-relay key create --name backend --scope write > key
   netpilot-relay key create --name ana --expires 90d --router 3f9a1c --router 77b0e2`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.StringFlag{Name: "name", Usage: "call it `NAME`, to tell it from others (required)"},
				&cli.StringFlag{Name: "scope", Usage: "let it do `SCOPE`: read; write (also reset, rename, configure); admin (also see the relay itself)",
					Value: string(store.ScopeRead)},
				&cli.StringSliceFlag{Name: "router", Usage: "let it see only the router `ID`, or several; the beginning is enough if no other router shares it",
					DefaultText: "every router"},
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
			Name:      "rotate",
			Usage:     "give a key a new secret; the old one works on for a while",
			ArgsUsage: "NAME|ID",
			Description: `The new key is printed once, alone on standard output. Rotating again ends the
one before at once.

Examples:

   netpilot-relay key rotate backend > key
   netpilot-relay key rotate --overlap 1h backend > key`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.StringFlag{Name: "overlap", Usage: "the old one works for `TIME` more, like 1h or 7d; 0s ends it now", Value: "24h"},
			},
			Action: p.keyRotate,
		}, {
			Name:      "routers",
			Usage:     "change which routers a key made with --router may see",
			ArgsUsage: "NAME|ID",
			Description: `It holds within two seconds. Without --add and --remove it lists them.

Examples:

   netpilot-relay key routers ana
   netpilot-relay key routers --add 3f9a1c --remove 77b0e2 ana`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.StringSliceFlag{Name: "add", Usage: "let it see the router `ID`"},
				&cli.StringSliceFlag{Name: "remove", Usage: "hide the router `ID` from it"},
			},
			Action: p.keyRouters,
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
	scope := store.Scope(c.String("scope"))
	if !slices.Contains(store.Scopes(), scope) {
		return misusef(c, "--scope is read, write or admin, not %q", usage.Clean(string(scope), 32))
	}
	now := p.now()
	k := store.Key{ID: store.NewKeyID(), Name: name, Scope: scope, CreatedAt: now}
	if c.String("expires") != "" {
		d, err := span(c, "expires")
		if err != nil {
			return err
		}
		k.ExpiresAt = now.Add(d)
	}
	return withData(c, true, func(db *sqlite.DB) error {
		if c.IsSet("router") {
			var err error
			if k.Routers, err = routerIDs(c, db, "router"); err != nil {
				return err
			}
		}
		secret, hash := store.NewSecret(store.KeyPrefix)
		if err := db.CreateKey(c.Context, k, hash); err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		p.record(c, db, "", k, "scope "+string(k.Scope)+", sees "+sees(&k))
		fmt.Fprintln(p.stdout, secret)
		fmt.Fprintf(p.stderr, "This is key %s (%s); it is not shown again. Send it as \"Authorization: Bearer KEY\",\n"+
			"or put it into the relay's address as https://netpilot:KEY@ADDRESS.\n", k.ID, k.Name)
		return nil
	})
}

// keyItem is one key in JSON.
type keyItem struct {
	ID        string           `json:"id"`
	Name      string           `json:"name"`
	Scope     store.Scope      `json:"scope"`
	Routers   []usage.RouterID `json:"routers"` // null for every router
	InForce   bool             `json:"in_force"`
	CreatedAt *time.Time       `json:"created_at"`
	ExpiresAt *time.Time       `json:"expires_at"`
	LastUsed  *time.Time       `json:"last_used"`
	RotatedAt *time.Time       `json:"rotated_at"`
	OldUntil  *time.Time       `json:"old_until"` // when the secret before the last rotation ends
	RevokedAt *time.Time       `json:"revoked_at"`
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
				rows = append(rows, []string{k.ID, k.Name, string(k.Scope), sees(&k), stamp(k.CreatedAt), stamp(k.ExpiresAt), stamp(k.LastUsed), stamp(k.RevokedAt)})
			}
			return printTable(p.stdout, "ID NAME SCOPE ROUTERS CREATED EXPIRES USED REVOKED", rows)
		}
		now := p.now()
		items := make([]keyItem, 0, len(list))
		for _, k := range list {
			items = append(items, keyItem{ID: k.ID, Name: k.Name, Scope: k.Scope, Routers: k.Routers, InForce: k.InForce(now),
				CreatedAt: unlessZero(k.CreatedAt), RotatedAt: unlessZero(k.RotatedAt), OldUntil: unlessZero(k.OldUntil), ExpiresAt: unlessZero(k.ExpiresAt), LastUsed: unlessZero(k.LastUsed), RevokedAt: unlessZero(k.RevokedAt)})
		}
		return printJSON(p.stdout, items)
	})
}

// sees is how many routers a key may see, in a table.
func sees(k *store.Key) string {
	if k.Routers == nil {
		return "all"
	}
	return strconv.Itoa(len(k.Routers))
}

func (p *program) keyRotate(c *cli.Context) error {
	if err := arguments(c, "NAME or ID"); err != nil {
		return err
	}
	overlap, err := overlap(c)
	if err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		secret, hash := store.NewSecret(store.KeyPrefix)
		k, err := db.RotateKey(c.Context, c.Args().First(), hash, p.now(), overlap)
		if err != nil {
			return fmt.Errorf("rotate key: %w", err)
		}
		p.record(c, db, "", k, "the old one until "+k.OldUntil.Format(time.RFC3339))
		fmt.Fprintln(p.stdout, secret)
		fmt.Fprintf(p.stderr, "This is the new secret of key %s (%s); the old one works until %s.\n", k.ID, k.Name, stamp(k.OldUntil))
		return nil
	})
}

func (p *program) keyRouters(c *cli.Context) error {
	if err := arguments(c, "NAME or ID"); err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		add, err := routerIDs(c, db, "add")
		if err != nil {
			return err
		}
		remove, err := routerIDs(c, db, "remove")
		if err != nil {
			return err
		}
		k, err := db.KeyRouters(c.Context, c.Args().First(), add, remove)
		if err != nil {
			return fmt.Errorf("change what the key sees: %w", err)
		}
		if len(add)+len(remove) > 0 {
			p.record(c, db, "", k, fmt.Sprintf("%d added, %d removed, sees %s", len(add), len(remove), sees(&k)))
		}
		for _, id := range k.Routers {
			fmt.Fprintln(p.stdout, id)
		}
		return nil
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
		p.record(c, db, "", k, "")
		fmt.Fprintf(p.stderr, "Revoked key %s (%s).\n", k.ID, k.Name)
		return nil
	})
}
