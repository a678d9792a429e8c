// Packages makes the feeds that routers install netpilot from: an .ipk and an
// .apk for every package architecture, the indexes that opkg and apk fetch,
// their signatures, and a page for people.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	f := flag.NewFlagSet("packages", flag.ContinueOnError)
	f.StringVar(&o.binaries, "binaries", "dist", "folder with the agents that make cross built")
	f.StringVar(&o.source, "source", "openwrt-package", "folder with what the packages install")
	f.StringVar(&o.out, "out", "dist/feed", "folder to write the feed to; it must be empty or a feed")
	f.StringVar(&o.keys, "keys", "keys", "folder with the signing keys")
	f.StringVar(&o.url, "url", "", "address the feed will have, for install.sh and the page")
	f.StringVar(&o.version, "version", "", "X.Y.Z or X.Y.Z-rcN")
	f.Int64Var(&o.epoch, "epoch", 0, "the commit's time, in seconds since 1970")
	f.IntVar(&o.revision, "revision", 1, "of the packaging of this version")
	f.BoolVar(&o.fast, "fast", false, "for a try: compress as compress/gzip does, the ipk 6 % larger in half the time")
	archs := f.String("archs", "", "only these package architectures, separated by commas")
	makePair := f.Bool("make-keys", false, "make signing keys in the folder --keys, and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if *makePair {
		return makeKeys(o.keys, stdout)
	}
	if *archs != "" {
		o.archs = strings.Split(*archs, ",")
		slices.Sort(o.archs)
	}
	return o.build(ctx, stdout)
}
