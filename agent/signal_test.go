package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/config"
)

// agentEnv makes the test binary be netpilot-agent.
const agentEnv = "NETPILOT_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(agentEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// deaf is a relay that hangs up on everybody.
func deaf(t *testing.T) (address *url.URL, dialled <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dials := make(chan struct{}, 100)
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
			dials <- struct{}{}
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}, dials
}

// TestSignals runs the program itself: USR1 has it dial at once, TERM and HUP
// end it in good order, with what it counted kept and exit code 0.
func TestSignals(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the agent runs on Linux")
	}
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(end.String(), func(t *testing.T) {
			root := t.TempDir()
			for path, text := range map[string]string{
				"sys/class/net/br-lan/address": "02:77:00:00:00:01\n", "etc/config/netpilot": "config agent 'agent'\n",
				"etc/config/system": "config system\n\toption hostname 'r'\n", "var/run/.keep": "",
			} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			facts, err := config.ReadRouter(root)
			if err != nil {
				t.Fatal(err)
			}
			address, dialled := deaf(t)
			if err := config.SaveIdentity(root, config.Identity{Relay: address, RouterID: facts.ID, Secret: config.Secret(strings.Repeat("s", 43))}); err != nil {
				t.Fatal(err)
			}

			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "--root", root, "run", "--log-level", "debug")
			cmd.Env = append(os.Environ(), agentEnv+"=1")
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			log := bufio.NewReader(stderr)
			says := func(word string) {
				t.Helper()
				for {
					line, err := log.ReadString('\n')
					if strings.Contains(line, word) {
						return
					}
					if err != nil {
						t.Fatalf("no %q in the log: %v", word, err)
					}
				}
			}
			says("no link") // it waits to dial again
			<-dialled
			if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			says("woken by signal USR1")
			select {
			case <-dialled:
			case <-ctx.Done():
				t.Fatal("woken, it did not dial")
			}

			if err := cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(log)
			if err := cmd.Wait(); err != nil {
				t.Errorf("ended with %v\n%s", err, rest)
			}
			if _, err := os.Stat(filepath.Join(root, "var/run/netpilot/agent.sock")); err == nil {
				t.Error("its socket is still there")
			}
			if files, err := os.ReadDir(filepath.Join(root, "tmp/netpilot")); err != nil || len(files) == 0 {
				t.Errorf("no history: %v, %v", files, err)
			}
		})
	}
}
