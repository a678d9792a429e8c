module github.com/netpilot/netpilot

go 1.26
