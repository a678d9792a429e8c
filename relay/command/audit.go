package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/audit"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func (p *program) auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "see who did what: the newest first",
		Description: `Rows are written by the serving relay within a second, repeated ones together
within ten. Nothing changes them; old ones leave by --audit-keep and --audit-rows
of serve.

Examples:

   netpilot-relay audit
   netpilot-relay audit --router 3f9a1c --since 24h
   netpilot-relay audit --key backend --limit 0 --format json | jq -r .result`,
		Flags: []cli.Flag{
			dataFlag(),
			&cli.StringFlag{Name: "router", Usage: "only what was about the router `ID`; the beginning is enough if no other shares it"},
			&cli.StringFlag{Name: "key", Usage: "only what the key `NAME|ID` did"},
			&cli.StringFlag{Name: "since", Usage: "only what was done in the last `TIME`, like 1h or 7d, or since a time like 2026-11-23T14:00:00Z"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows; 0 for all", Value: 100},
			formatFlag(),
		},
		Action: p.audit,
	}
}

// auditItem is one row in JSON, one a line.
type auditItem struct {
	At      time.Time      `json:"at"`
	Until   time.Time      `json:"until"` // the last of several times
	Times   int            `json:"times"`
	Who     string         `json:"who"`
	Key     string         `json:"key,omitempty"`
	Router  usage.RouterID `json:"router,omitempty"`
	Method  string         `json:"method"`
	Result  string         `json:"result"`
	Address string         `json:"address,omitempty"`
	Detail  string         `json:"detail,omitempty"`
}

func (p *program) audit(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	table, err := p.isTable(c)
	if err != nil {
		return err
	}
	q := store.AuditQuery{Key: c.String("key"), Limit: c.Int("limit")}
	if q.Limit < 0 {
		return misusef(c, "--limit is 0 or more, not %d", q.Limit)
	}
	if text := c.String("since"); text != "" {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			q.Since = at
		} else {
			d, err := span(c, "since")
			if err != nil {
				return err
			}
			q.Since = p.now().Add(-d)
		}
	}
	return withData(c, false, func(db *sqlite.DB) error {
		if text := c.String("router"); text != "" {
			// A router that is gone, or never was, may stand in the log.
			if id, err := usage.ParseRouterID(text); err == nil {
				q.Router = id
			} else {
				r, err := findRouter(c.Context, db, text)
				if err != nil {
					return err
				}
				q.Router = r.ID
			}
		}
		if !table {
			w := bufio.NewWriter(p.stdout)
			e := json.NewEncoder(w)
			err := db.Audit(c.Context, q, func(r store.AuditRow) error {
				return e.Encode(auditItem{At: r.At, Until: r.Until, Times: r.Times, Who: r.Who, Key: r.Key, Router: r.Router,
					Method: r.Method, Result: r.Result, Address: r.Address, Detail: r.Detail})
			})
			if err != nil {
				return fmt.Errorf("read the audit log: %w", err)
			}
			return w.Flush()
		}
		var rows [][]string
		err := db.Audit(c.Context, q, func(r store.AuditRow) error {
			rows = append(rows, []string{stamp(r.At), strconv.Itoa(r.Times), r.Who, r.Router.Short(), r.Method, r.Result, r.Address, r.Detail})
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		return printTable(p.stdout, "TIME TIMES WHO ROUTER METHOD RESULT FROM DETAIL", rows)
	})
}

// record writes down what the operator did. It was done, so a failure is told
// and is no failure of the command.
func (p *program) record(c *cli.Context, db *sqlite.DB, router usage.RouterID, key store.Key, detail string) {
	now := p.now()
	who := audit.Operator
	if u, err := user.Current(); err == nil {
		who += ":" + usage.Clean(u.Username, 64)
	}
	detail = strings.TrimSpace(strings.Join([]string{key.Name, detail}, " "))
	err := db.AppendAudit(c.Context, []store.AuditRow{{At: now, Until: now, Times: 1, Who: who, Key: key.ID, Router: router,
		Method: strings.TrimPrefix(c.Command.HelpName, "netpilot-relay "), Result: audit.OK, Detail: usage.Clean(detail, 200)}})
	if err != nil {
		fmt.Fprintf(p.stderr, "netpilot-relay: done, but the audit log could not be written: %s\n", err)
	}
}
