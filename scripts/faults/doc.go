// Package faults breaks what a serving relay stands on while routers push and
// callers call: its disk, its database, its clients. It has only tests.
package faults
