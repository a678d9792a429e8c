package nlbwmon

import (
	"fmt"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Period names an accounting period by its first day, as the decimal number
// YYYYMMDD that nlbwmon stores; 0 is the live table or unknown. It need not be
// a calendar date: with -I 31 nlbwmon makes 20260931.
type Period uint32

// ParsePeriod reads "YYYY-MM-DD" or "YYYYMMDD". The month must be 1 to 12 and
// the day 1 to 99, the largest that nlbwmon's naming can carry.
func ParsePeriod(s string) (Period, error) {
	digits := s
	if len(s) == 10 && s[4] == '-' && s[7] == '-' {
		digits = s[:4] + s[5:7] + s[8:]
	}
	var p Period
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			p = 0
			break
		}
		p = p*10 + Period(digits[i]-'0')
	}
	month, day := p/100%100, p%100
	if len(digits) != 8 || p < 10000000 || month < 1 || month > 12 || day < 1 {
		return 0, usage.Errorf(usage.Invalid, "%q is not a period; write its first day like 2026-11-01", usage.Clean(s, 64))
	}
	return p, nil
}

// String prints p as nlbw -c list does, "2026-11-01".
func (p Period) String() string {
	return fmt.Sprintf("%04d-%02d-%02d", uint32(p)/10000, uint32(p)/100%100, uint32(p)%100)
}
