package command

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

// maxNote bounds the note of a token, in bytes.
const maxNote = 200

func (p *program) enrolmentCommand() *cli.Command {
	return &cli.Command{
		Name:  "enrolment",
		Usage: "let new routers in",
		Subcommands: []*cli.Command{{
			Name:  "create",
			Usage: "make a token that enrols one router, once",
			Description: `The token is printed once, alone on standard output; the relay keeps a hash.

Examples:

   netpilot-relay enrolment create > token
   netpilot-relay enrolment create --ttl 24h --note "Ana, Rua das Flores 3"`,
			Flags: []cli.Flag{
				dataFlag(),
				&cli.StringFlag{Name: "ttl", Usage: "the token is good for `TIME`, like 15m or 24h", Value: "15m"},
				&cli.StringFlag{Name: "note", Usage: "remember `TEXT` with it"},
			},
			Action: p.enrolmentCreate,
		}},
	}
}

func (p *program) enrolmentCreate(c *cli.Context) error {
	if err := arguments(c); err != nil {
		return err
	}
	ttl, err := span(c, "ttl")
	if err != nil {
		return err
	}
	return withData(c, true, func(db *sqlite.DB) error {
		token, hash := store.NewSecret(store.TokenPrefix)
		now := p.now()
		t := store.Token{Note: usage.Clean(c.String("note"), maxNote), CreatedAt: now, ExpiresAt: now.Add(ttl)}
		if err := db.CreateToken(c.Context, t, hash); err != nil {
			return fmt.Errorf("create token: %w", err)
		}
		p.record(c, db, "", store.Key{}, t.Note)
		fmt.Fprintln(p.stdout, token)
		fmt.Fprintf(p.stderr, "This token enrols one router until %s. Put it into a file on the router, then there:\n"+
			"  netpilot-agent enroll --relay https://ADDRESS-OF-THIS-RELAY --token-file FILE\n", t.ExpiresAt.Format(time.DateTime))
		return nil
	})
}
