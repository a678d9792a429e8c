package history_test

import (
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/config"
)

// posix are the rules as a router has them in /etc/TZ.
var posix = map[string]string{
	"UTC":                 "UTC",
	"Europe/Berlin":       "CET-1CEST,M3.5.0,M10.5.0/3",
	"Asia/Kolkata":        "IST-5:30",
	"Australia/Lord_Howe": "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
	"America/New_York":    "EST5EDT,M3.2.0,M11.1.0",
	"Africa/Cairo":        "EET-2EEST,M4.5.5/0,M10.5.4/24",
	"Asia/Beirut":         "EET-2EEST,M3.5.0/0,M10.5.0/0",
	"LMT":                 "LMT-0:53:28",
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := config.Location(posix[name])
	must(t, err)
	return loc
}
