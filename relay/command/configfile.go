package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"

	"github.com/netpilot/netpilot/pkg/usage"
)

// envPrefix begins the environment variable of every option of serve:
// --tls-cert is NETPILOT_RELAY_TLS_CERT.
const envPrefix = "NETPILOT_RELAY_"

// withEnv gives every flag that has none its environment variable.
func withEnv(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		var vars *[]string
		switch f := f.(type) {
		case *cli.StringFlag:
			vars = &f.EnvVars
		case *cli.BoolFlag:
			vars = &f.EnvVars
		case *cli.IntFlag:
			vars = &f.EnvVars
		case *cli.Float64Flag:
			vars = &f.EnvVars
		}
		if vars != nil && len(*vars) == 0 {
			*vars = []string{envPrefix + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))}
		}
	}
	return flags
}

// readConfig sets the flags that neither the command line nor the environment
// has set from the file that --config names: TOML whose keys are the flags'
// names. A key that is no flag is an error, since it is a slip of the finger.
func readConfig(c *cli.Context) error {
	file := c.String("config")
	if file == "" {
		return nil
	}
	var values map[string]any
	if _, err := toml.DecodeFile(file, &values); err != nil {
		return fmt.Errorf("read %s: %w; correct it, or name another file with --config FILE", file, err)
	}
	for name, value := range values {
		known := slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
		if !known || name == "config" || name == "help" {
			return misusef(c, "%s: there is no option %q; see netpilot-relay serve --help", file, usage.Clean(name, 64))
		}
		if c.IsSet(name) {
			continue
		}
		text, ok := configText(value)
		if !ok {
			return misusef(c, "%s: %s is neither text, nor a number, nor true or false, nor a list of texts", file, name)
		}
		if err := c.Set(name, text); err != nil {
			return misusef(c, "%s: %s cannot be %q: %s", file, name, usage.Clean(text, 64), usage.Clean(err.Error(), 200))
		}
	}
	return nil
}

// configText is a value as it would be typed after its flag.
func configText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool, int64, float64:
		return fmt.Sprint(v), true
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			text, ok := part.(string)
			if !ok {
				return "", false
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

// list reads the flag's value as names with commas between.
func list(c *cli.Context, flag string) (names []string) {
	for part := range strings.SplitSeq(c.String(flag), ",") {
		if part = strings.TrimSpace(part); part != "" {
			names = append(names, part)
		}
	}
	return names
}
