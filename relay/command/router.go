package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func (p *program) routerCommand() *cli.Command {
	return &cli.Command{
		Name:  "router",
		Usage: "see and revoke the routers that are enrolled",
		Subcommands: []*cli.Command{{
			Name:  "list",
			Usage: "list all routers",
			Description: `Examples:

   netpilot-relay router list
   netpilot-relay router list --format json | jq '.[] | select(.online) | .name'`,
			Flags:  []cli.Flag{dataFlag(), formatFlag()},
			Action: p.routerList,
		}, {
			Name:      "rotate",
			Usage:     "have routers change their secret",
			ArgsUsage: "[ID...]",
			Description: `A connected router changes it within seconds, another one when it comes back.
Until it has proven the new one both work, so no failure locks it out.

Examples:

   netpilot-relay router rotate 3f9a1c
   netpilot-relay router rotate --overlap 0s 3f9a1c   # the old one ends with the change
   netpilot-relay router rotate --all`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.BoolFlag{Name: "all", Usage: "every router that is not revoked"},
				&cli.StringFlag{Name: "overlap", Usage: "the old one works for `TIME` after the change, like 1h or 7d; 0s ends it", Value: "24h"},
			},
			Action: p.routerRotate,
		}, {
			Name:      "revoke",
			Usage:     "shut a router out; its link ends within two seconds",
			ArgsUsage: "ID",
			Description: `The beginning of the ID is enough if no other router shares it. To let the
router in again, enrol it again.

Example:

   netpilot-relay router revoke 3f9a1c`,
			Flags:  []cli.Flag{dataFlag()},
			Action: p.routerRevoke,
		}, p.retentionCommand()},
	}
}

// routerItem is one router in JSON.
type routerItem struct {
	ID         usage.RouterID `json:"id"`
	Name       string         `json:"name"`
	Model      string         `json:"model"`
	Release    string         `json:"release"`
	Version    string         `json:"agent_version"`
	Online     bool           `json:"online"`
	LastSeen   *time.Time     `json:"last_seen"`
	EnrolledAt *time.Time     `json:"enrolled_at"`
	RevokedAt  *time.Time     `json:"revoked_at"`
}

func (p *program) routerList(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	table, err := p.isTable(c)
	if err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		list, _, err := db.Routers(c.Context, store.RouterQuery{})
		if err != nil {
			return fmt.Errorf("list routers: %w", err)
		}
		now := p.now()
		if table {
			rows := make([][]string, 0, len(list))
			for _, r := range list {
				online := "no"
				if r.Online(now) {
					online = "yes"
				}
				rows = append(rows, []string{r.ID.Short(), r.Name, r.Model, r.AgentVersion, online,
					stamp(r.LastSeen), stamp(r.EnrolledAt), stamp(r.RevokedAt)})
			}
			return printTable(p.stdout, "ID NAME MODEL VERSION ONLINE SEEN ENROLLED REVOKED", rows)
		}
		items := make([]routerItem, 0, len(list))
		for _, r := range list {
			items = append(items, routerItem{ID: r.ID, Name: r.Name, Model: r.Model, Release: r.Release, Version: r.AgentVersion,
				Online: r.Online(now), LastSeen: unlessZero(r.LastSeen), EnrolledAt: unlessZero(r.EnrolledAt), RevokedAt: unlessZero(r.RevokedAt)})
		}
		return printJSON(p.stdout, items)
	})
}

// findRouter finds the one router whose id begins with the prefix.
func findRouter(ctx context.Context, db *sqlite.DB, prefix string) (store.Router, error) {
	prefix = strings.TrimSuffix(prefix, "…") // as copied from the table
	list, total, err := db.Routers(ctx, store.RouterQuery{Prefix: prefix, Limit: 1})
	shown := usage.Clean(prefix, 64)
	switch {
	case err != nil:
		return store.Router{}, fmt.Errorf("find router: %w", err)
	case prefix == "":
		return store.Router{}, errors.New("a router's id is empty; see: netpilot-relay router list")
	case total == 0:
		return store.Router{}, fmt.Errorf("no router's id begins with %q; see: netpilot-relay router list", shown)
	case total > 1:
		return store.Router{}, fmt.Errorf("%d routers' ids begin with %q; give more digits, see: netpilot-relay router list --format json",
			total, shown)
	}
	return list[0], nil
}

// routerIDs reads the ids in a flag. A whole one may be of a router that is
// not enrolled yet.
func routerIDs(c *cli.Context, db *sqlite.DB, flag string) ([]usage.RouterID, error) {
	ids := []usage.RouterID{}
	for _, text := range c.StringSlice(flag) {
		id, err := usage.ParseRouterID(text)
		if err != nil {
			r, err := findRouter(c.Context, db, text)
			if err != nil {
				return nil, err
			}
			id = r.ID
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (p *program) routerRotate(c *cli.Context) error {
	overlap, err := overlap(c)
	if err != nil {
		return err
	}
	if c.Bool("all") == (c.NArg() > 0) {
		return misusef(c, "name routers by ID, or give --all")
	}
	return withData(c, false, func(db *sqlite.DB) error {
		var ids []usage.RouterID
		for _, prefix := range c.Args().Slice() {
			r, err := findRouter(c.Context, db, prefix)
			if err != nil {
				return err
			}
			ids = append(ids, r.ID)
		}
		n, err := db.WantRotation(c.Context, ids, overlap)
		if err != nil {
			return fmt.Errorf("rotate secrets: %w", err)
		}
		for _, id := range ids {
			p.record(c, db, id, store.Key{}, "")
		}
		if len(ids) == 0 {
			p.record(c, db, "", store.Key{}, fmt.Sprintf("all %d routers", n))
		}
		fmt.Fprintf(p.stderr, "Asked for a new secret: %d; netpilot-relay audit says when they changed.\n", n)
		return nil
	})
}

func (p *program) routerRevoke(c *cli.Context) error {
	if err := arguments(c, "ID"); err != nil {
		return err
	}
	return withData(c, false, func(db *sqlite.DB) error {
		r, err := findRouter(c.Context, db, c.Args().First())
		if err != nil {
			return err
		}
		if !r.RevokedAt.IsZero() {
			return errors.New("router " + r.ID.Short() + " was revoked before, at " + stamp(r.RevokedAt))
		}
		if err := db.RevokeRouter(c.Context, r.ID, p.now()); err != nil {
			return fmt.Errorf("revoke router: %w", err)
		}
		p.record(c, db, r.ID, store.Key{}, r.Name)
		fmt.Fprintf(p.stderr, "Revoked router %s (%s).\n", r.ID.Short(), r.Name)
		return nil
	})
}
