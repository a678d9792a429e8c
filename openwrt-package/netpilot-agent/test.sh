#!/bin/sh
# The feed's CI runs this on a router's root: test.sh PACKAGE VERSION.
set -e

case "$1" in
netpilot-agent)
	echo "netpilot-agent --version says $2:"
	netpilot-agent --version | tee /tmp/netpilot-version
	grep -F "$2" /tmp/netpilot-version
	echo "the shipped configuration can be read:"
	netpilot-agent dump --help | head -n 3
	echo "the service is known and off until enrolment:"
	grep "option enabled '0'" /etc/config/netpilot
	ls -l /etc/init.d/netpilot-agent
	;;
esac
