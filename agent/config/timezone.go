package config

import (
	"fmt"
	"time"

	"github.com/netpilot/netpilot/pkg/zone"
)

// Location makes a time.Location of the router's time zone, a POSIX TZ string.
func Location(tz string) (*time.Location, error) {
	loc, err := zone.Parse(tz)
	if err != nil {
		return nil, fmt.Errorf("%w; see option timezone in /etc/config/system", err)
	}
	return loc, nil
}
