package truth

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// netlinkNetfilter is that family's number in /proc/net/netlink.
const netlinkNetfilter = "12"

// defaultBuffer is nlbwmon's option netlink_buffer_size, in bytes.
const defaultBuffer = 524288

// checkNetlink looks for events that nlbwmon was too slow, or its buffer too
// small, to take.
func checkNetlink(_ context.Context, r *Router) ([]Finding, error) {
	var found []Finding
	text, _, err := r.Root.Optional("/proc/net/netlink")
	if err != nil {
		return nil, err
	}
	pids, err := r.Root.PIDs("nlbwmon")
	if err != nil {
		return nil, err
	}
	buffer, fix, err := r.biggerBuffer()
	if err != nil {
		return nil, err
	}
	drops := uint64(0)
	for line := range strings.Lines(text) {
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		f := strings.Fields(line)
		if len(f) < 10 || f[1] != netlinkNetfilter {
			continue
		}
		port, err := strconv.ParseInt(f[2], 10, 64)
		// libnl numbers its sockets by the process, with a counter in the top ten bits.
		if err != nil || !slices.Contains(pids, int(port&0x3fffff)) {
			continue
		}
		if n, err := strconv.ParseUint(f[8], 10, 64); err == nil {
			drops += n
		}
	}
	if drops > 0 {
		found = append(found, Finding{ID: "netlink-drops", Severity: Error, skews: true, fix: fix,
			Text:     sprintf("nlbwmon lost %d messages of the kernel since it started: what they told of is not counted", drops),
			Evidence: sprintf("column Drops in %s, its sockets of family %s; its buffer is %d bytes", r.Root.Path("/proc/net/netlink"), netlinkNetfilter, buffer),
			Cure:     "give nlbwmon a larger option netlink_buffer_size and as much net.core.rmem_max; service nlbwmon restart"})
	}
	most, there, err := r.Root.Number("/proc/sys/net/core/rmem_max")
	if there && most < buffer && r.Root.Exists(nlbwmonPath) {
		found = append(found, Finding{ID: "rmem-max", Severity: Warning,
			Text:     "the kernel does not let nlbwmon have the buffer it asks for: a burst of connections may go uncounted",
			Evidence: sprintf("%s is %d, netlink_buffer_size %d", r.Root.Path("/proc/sys/net/core/rmem_max"), most, buffer),
			Cure:     sprintf("sysctl -w net.core.rmem_max=%d; service nlbwmon restart", buffer),
			fix:      r.sysctl("rmem-max", "net.core.rmem_max", strconv.FormatInt(buffer, 10), serviceRun{"nlbwmon", "restart", "restart"})})
	}
	return found, err
}

// biggerBuffer is nlbwmon's buffer and the fix that doubles it.
func (r *Router) biggerBuffer() (int64, *fix, error) {
	buffer := int64(defaultBuffer)
	file, err := r.Root.UCI(nlbwmonConfig)
	if err != nil {
		return 0, nil, err
	}
	if text, ok := file.Section("nlbwmon", "").Get("netlink_buffer_size"); ok {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil && n > 0 {
			buffer = n
		}
	}
	larger := strconv.FormatInt(2*buffer, 10)
	fix := r.sysctl("netlink-drops", "net.core.rmem_max", larger)
	fix.set(r, nlbwmonConfig, "nlbwmon", "netlink_buffer_size", larger)
	fix.Services = []serviceRun{{"nlbwmon", "restart", "restart"}}
	return buffer, fix, nil
}
