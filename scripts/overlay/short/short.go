// Package short is how netpilot-agent's function names are told in traces. The
// linker of the agent's builds has this file too (scripts/overlay), so it uses
// nothing but package strings.
package short

import "strings"

// Name is a function's name without what a reader does not need: the folders of
// its package, of our own those above the module, and the types a generic
// function was compiled for, which traces leave out in any case. Names of the
// runtime stay whole: it asks for some of its own.
func Name(full string) string {
	if from := strings.IndexByte(full, '['); from >= 0 {
		if to := strings.LastIndexByte(full, ']'); to > from && strings.IndexByte(full[:from], ':') < 0 {
			full = full[:from] + "[...]" + full[to+1:]
		}
	}
	if ours := strings.TrimPrefix(full, "github.com/netpilot/netpilot/"); ours != full {
		return ours
	}
	path := full
	if i := strings.IndexAny(path, "(["); i >= 0 {
		path = path[:i]
	}
	if strings.IndexByte(path, ':') >= 0 || strings.HasPrefix(path, "internal/runtime/") {
		return full
	}
	return full[strings.LastIndexByte(path, '/')+1:]
}
