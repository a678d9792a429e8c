// Package identity says who a device is: its name, addresses, vendor and
// group, out of what the router knows about its networks, and what they were
// at an earlier instant. Every text in it came from a device or a file and is
// cleaned before it is kept.
//
// A Book is what the router's files and its kernel say now. Memory is what was
// seen before: names, who held an address when, when a device was last there.
// A Keeper reads the one, keeps the other, and answers from both.
package identity
