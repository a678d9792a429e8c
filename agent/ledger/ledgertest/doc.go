// Package ledgertest is a simulator of a router with nlbwmon on it, for tests
// of the ledger. It is no nlbwmon: it repeats, in memory and in simulated
// time, how nlbwmon fills, saves, loads, overwrites and empties its table
// (nlbwmon's database.c, nlbwmon.c and nfnetlink.c), fed by flows with true
// byte counts. Unlike a router it knows the truth: each count that ever went
// into the table is in Router.Counted, with its time and key.
//
// What it leaves out: the network, the byte layout, full file systems, and
// the merge of a file that appears after nlbwmon began without one.
package ledgertest
