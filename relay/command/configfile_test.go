package command

import (
	"fmt"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"
)

// sample is the commented configuration file that is shipped.
const sample = "../../scripts/relay/netpilot-relay.toml"

// The sample names every option of serve, and nothing else, with its default.
func TestSampleIsTheDefaults(t *testing.T) {
	var values map[string]any
	if _, err := toml.DecodeFile(sample, &values); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(serveFlags(), dataFlag()) {
		name := f.Names()[0]
		value, ok := values[name]
		if !ok {
			t.Errorf("%s lacks %s", sample, name)
			continue
		}
		delete(values, name)
		var want any
		switch f := f.(type) {
		case *cli.StringFlag:
			want = f.Value
		case *cli.BoolFlag:
			want = f.Value
		case *cli.IntFlag:
			want = int64(f.Value)
		case *cli.Float64Flag:
			want = f.Value
		default:
			t.Fatalf("--%s is a %T, of which readConfig and this test know nothing", name, f)
		}
		if value != want {
			t.Errorf("%s: got %s = %#v, want the default %#v", sample, name, value, want)
		}
	}
	for name := range values {
		t.Errorf("%s has %s, which is no option", sample, name)
	}
}

// A relay with the sample as it is serves as one without.
func TestSampleIsTaken(t *testing.T) {
	p := &program{stderr: new(strings.Builder)}
	var got, want Config
	for _, test := range []struct {
		into *Config
		args []string
	}{{&want, nil}, {&got, []string{"--config", sample}}} {
		command := p.serveCommand()
		command.Action = func(c *cli.Context) (err error) {
			if err := readConfig(c); err != nil {
				return err
			}
			*test.into, err = p.config(c)
			return err
		}
		app := &cli.App{Name: "netpilot-relay", Commands: []*cli.Command{command}, ExitErrHandler: func(*cli.Context, error) {}}
		if err := app.Run(append([]string{"netpilot-relay", "serve"}, test.args...)); err != nil {
			t.Fatal(err)
		}
		test.into.Log, test.into.TLS.Log = nil, nil
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("with the sample: got %+v, want %+v", got, want)
	}
}

// Every option can come from the environment.
func TestEnvironment(t *testing.T) {
	for _, f := range withEnv(serveFlags()) {
		want := "NETPILOT_RELAY_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
		if vars := f.(cli.DocGenerationFlag).GetEnvVars(); len(vars) != 1 || vars[0] != want {
			t.Errorf("--%s: got %v, want %s", f.Names()[0], vars, want)
		}
	}
}
