package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// maxToken bounds what is read as a token, in bytes.
const maxToken = 1 << 10

func (p *program) enroll() *cli.Command {
	return &cli.Command{
		Name:  "enroll",
		Usage: "exchange a one-time token for this router's own secret",
		Description: examples(
			"netpilot-agent enroll --relay https://relay.example", "asks for the token",
			"netpilot-agent enroll --relay https://relay.example --token-file F", "reads it from a file",
			"echo $TOKEN | netpilot-agent enroll --relay https://relay.example", "reads it from a pipe",
		) + "\n\nThen it restarts the service and waits until the link is up; the exit code is 1 if it is not up within a minute." +
			"\nA token comes from: netpilot-relay enrolment create. It is good for 15 minutes and one router." +
			"\nA token is never taken from the command line, which every user of the router can see.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "relay", Usage: "the relay's `URL`, https://HOST; http:// only on loopback"},
			&cli.StringFlag{Name: "token-file", Usage: "`FILE` that holds the token"},
			caFileFlag(),
			&cli.BoolFlag{Name: "no-wait", Usage: "do not wait until the link is up"},
		},
		Action: p.runEnroll,
	}
}

func (p *program) runEnroll(c *cli.Context) error {
	if c.String("relay") == "" {
		return misuse{fmt.Errorf("enroll needs --relay URL; see: netpilot-agent enroll --help")}
	}
	relay, err := config.ParseRelay(c.String("relay"))
	if err != nil {
		return misuse{fmt.Errorf("--relay: %w", err)}
	}
	r, err := p.router(c)
	if err != nil {
		return err
	}
	if err := r.override(c); err != nil {
		return err
	}
	token, err := p.token(c.String("token-file"))
	if err != nil {
		return err
	}
	done := p.progress("connecting to " + relay.Host)
	id, err := p.redeem(c.Context, r, relay, token)
	done()
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "enrolled as router %s at %s\n", id.Short(), relay)
	return p.startLink(c, r)
}

// redeem exchanges the token for this router's secret, keeps that, and has the
// service start at boot.
func (p *program) redeem(ctx context.Context, r *router, relay *url.URL, token string) (usage.RouterID, error) {
	facts, err := config.ReadRouter(r.root)
	if err != nil {
		return "", err
	}
	reply, err := uplink.Enrol(ctx, p.client(r), relay, wire.EnrolRequest{
		Token: token, RouterID: string(facts.ID), Name: facts.Hostname, Model: facts.Model, AgentVersion: p.build.Version,
	})
	if err != nil {
		return "", err
	}
	if reply.RouterID != string(facts.ID) {
		return "", usage.Errorf(usage.Internal, "the relay enrolled router %s and this is %s; report it to the relay's operator",
			usage.Clean(reply.RouterID, 64), facts.ID)
	}
	if err := config.SaveIdentity(r.root, config.Identity{Relay: relay, RouterID: facts.ID, Secret: config.Secret(reply.Secret)}); err != nil {
		return "", fmt.Errorf("the relay has enrolled this router but its secret could not be stored; make room and enrol again with a new token: %w", err)
	}
	if err := config.Enable(r.root, true); err != nil {
		return "", fmt.Errorf("enrolled, but the service could not be enabled in %s: %w", r.path(config.Path), err)
	}
	return facts.ID, nil
}

// linkWithin is how long enroll waits for the link: a dial may take 20 s, and
// a first one that fails is followed by more.
const linkWithin = time.Minute

// restartService has the service take the new identity; false where none is
// installed.
func restartService(ctx context.Context, r *router) (installed bool, err error) {
	script := r.path("/etc/init.d/netpilot-agent")
	if _, err := os.Stat(script); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, action := range []string{"enable", "restart"} {
		ctx, cancel := context.WithTimeout(ctx, linkWithin)
		said, err := exec.CommandContext(ctx, script, action).CombinedOutput()
		cancel()
		if err != nil {
			return true, fmt.Errorf("enrolled, but %s %s failed (%w): %s; see: logread -e netpilot-agent",
				script, action, err, usage.Clean(strings.TrimSpace(string(said)), 300))
		}
	}
	return true, nil
}

// startLink restarts the service and waits until its link is up.
func (p *program) startLink(c *cli.Context, r *router) error {
	installed, err := restartService(c.Context, r)
	if err != nil {
		return err
	}
	if !installed {
		fmt.Fprint(p.stdout, "no service is installed here; next: netpilot-agent run, then: netpilot-agent status\n")
		return nil
	}
	if c.Bool("no-wait") {
		fmt.Fprint(p.stdout, "the service restarts; next: netpilot-agent status\n")
		return nil
	}
	done := p.progress("waiting for the link")
	err = waitForLink(c.Context, func(ctx context.Context) (method.UplinkStatus, error) {
		reply, err := local.Call(ctx, r.path(local.Path), "status", nil)
		var s method.Status
		if err == nil {
			err = json.Unmarshal(reply, &s)
		}
		return s.Uplink, err
	})
	done()
	if err != nil {
		return fmt.Errorf("enrolled, but %w", err)
	}
	fmt.Fprint(p.stdout, "the link is up; next: netpilot-agent status\n")
	return nil
}

// waitForLink asks until the daemon has a link. A failure that more dials may
// cure is waited out; the error says the last one.
func waitForLink(ctx context.Context, ask func(context.Context) (method.UplinkStatus, error)) error {
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	why := local.ErrNoDaemon.Error()
	for {
		u, err := ask(ctx)
		switch {
		case err == nil && u.Connected:
			return nil
		case err == nil && u.Error != "":
			why = u.Error
		case err != nil && ctx.Err() == nil:
			why = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("there is no link yet: %s; the service goes on trying, see: netpilot-agent status", usage.Clean(why, 300))
		case <-tick.C:
		}
	}
}

// token reads the token from a file, or from stdin, where a person is asked.
func (p *program) token(file string) (string, error) {
	in, from := p.stdin, "stdin"
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		defer f.Close()
		in, from = f, file
	} else if terminal(p.stdin) {
		fmt.Fprint(p.stderr, "Token (from: netpilot-relay enrolment create): ")
		in = &firstLine{Reader: in}
	}
	text, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", fmt.Errorf("read token from %s: %w", from, err)
	}
	return checkToken(string(text), from)
}

// checkToken takes a token out of a text from somewhere.
func checkToken(text, from string) (string, error) {
	token := strings.TrimSpace(text)
	switch {
	case token == "":
		return "", fmt.Errorf("no token in %s; make one at the relay: netpilot-relay enrolment create", from)
	case len(token) > maxToken || usage.Clean(token, maxToken) != token || strings.ContainsAny(token, " \t"):
		return "", fmt.Errorf("what stands in %s is no token; make one at the relay: netpilot-relay enrolment create", from)
	}
	return token, nil
}

// firstLine ends after one line: a person at a terminal ends with Enter.
type firstLine struct {
	io.Reader
	done bool
}

func (l *firstLine) Read(p []byte) (int, error) {
	if l.done {
		return 0, io.EOF
	}
	n, err := l.Reader.Read(p[:min(len(p), 1)])
	l.done = n == 1 && p[0] == '\n'
	return n, err
}
