package command

import (
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
			Name:      "revoke",
			Usage:     "shut a router out; its link ends within two seconds",
			ArgsUsage: "ID",
			Description: `The beginning of the ID is enough if no other router shares it. To let the
router in again, enrol it again.

Example:

   netpilot-relay router revoke 3f9a1c`,
			Flags:  []cli.Flag{dataFlag()},
			Action: p.routerRevoke,
		}},
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

func (p *program) routerRevoke(c *cli.Context) error {
	if err := arguments(c, "ID"); err != nil {
		return err
	}
	prefix := strings.TrimSuffix(c.Args().First(), "…") // as copied from the table
	if prefix == "" {
		return misusef(c, "ID is empty")
	}
	return withData(c, false, func(db *sqlite.DB) error {
		list, total, err := db.Routers(c.Context, store.RouterQuery{Prefix: prefix, Limit: 1})
		if err != nil {
			return fmt.Errorf("find router: %w", err)
		}
		switch {
		case total == 0:
			return fmt.Errorf("no router's id begins with %q; see: netpilot-relay router list", usage.Clean(prefix, 64))
		case total > 1:
			return fmt.Errorf("%d routers' ids begin with %q; give more digits, see: netpilot-relay router list --format json",
				total, usage.Clean(prefix, 64))
		}
		r := list[0]
		if !r.RevokedAt.IsZero() {
			return errors.New("router " + r.ID.Short() + " was revoked before, at " + stamp(r.RevokedAt))
		}
		if err := db.RevokeRouter(c.Context, r.ID, p.now()); err != nil {
			return fmt.Errorf("revoke router: %w", err)
		}
		fmt.Fprintf(p.stderr, "Revoked router %s (%s).\n", r.ID.Short(), r.Name)
		return nil
	})
}
