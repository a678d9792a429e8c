// Package nlbwmon reads what nlbwmon, OpenWrt's traffic accounting daemon,
// has counted: its database files, its live snapshot, its control socket and
// the text its client nlbw prints.
//
// Begin with [Client.Dump] on the router itself, with [ReadSnapshot] when the
// socket is not available, with [OpenPeriod] for an older period, and with
// [NewDecoder] for bytes from elsewhere. Each delivers [usage.Record] rows.
//
// Nothing here panics on hostile input, and no size found in a file is trusted
// before it is checked. Rows read before a fault are delivered, then the fault
// is reported, so a caller decides whether a part is better than nothing.
//
// The layouts are those of nlbwmon's database.h as compiled for OpenWrt's
// targets. They follow the C compiler of the router: all numbers are
// big-endian, except that an IPv4 address is a native 32-bit number, and that
// 32-bit x86 packs the structures tighter. See [AddrOrder] and
// [Header.Compact].
package nlbwmon
