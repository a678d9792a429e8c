package command

import (
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// maxSpan bounds what --ttl and --expires take: more is a slip of the finger.
const maxSpan = 10 * 366 * 24 * time.Hour

// span reads the flag's value: a positive duration as time.ParseDuration
// reads it, or whole days as 90d.
func span(c *cli.Context, flag string) (time.Duration, error) {
	text := c.String(flag)
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n <= int(maxSpan/(24*time.Hour)) {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || d <= 0 || d > maxSpan {
		return 0, misusef(c, "--%s is a time like 15m, 24h or 90d, not %q", flag, text)
	}
	return d, nil
}

// overlap reads --overlap, which may be 0.
func overlap(c *cli.Context) (time.Duration, error) {
	if d, err := time.ParseDuration(c.String("overlap")); err == nil && d == 0 {
		return 0, nil
	}
	return span(c, "overlap")
}
