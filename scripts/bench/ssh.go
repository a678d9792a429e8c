package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/netpilot/netpilot/scripts/fleet/play"
)

const sshdPath = "/usr/sbin/sshd"

// sshd compares with what the relay replaces: a command run over SSH for every
// question. Here that has it easier than in life: the connection stands, no
// reverse tunnel lies between, and the command only prints a file of 4 KB.
func sshd(ctx context.Context, b *bench) (err error) {
	if _, err := os.Stat(sshdPath); err != nil {
		fmt.Printf("\n## Commands over SSH\n\nSkipped: %s is not installed (apt-get install openssh-server).\n", sshdPath)
		return nil
	}
	dir, err := os.MkdirTemp("", "netpilot-sshd")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	client, stop, err := startSSH(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	answer := filepath.Join(dir, "answer")
	if err := os.WriteFile(answer, bytes.Repeat([]byte("x"), 4<<10), 0o644); err != nil {
		return err
	}
	stage, err := b.newStage(ctx, false)
	if err != nil {
		return err
	}
	defer stage.close()
	fmt.Printf("\n## Commands over SSH\n\nOpenSSH on loopback, one connection, `cat` of 4 KB for each call; %d turns of 3 s each, medians.\n\n", b.rounds)
	fmt.Println("| callers | | p50 | calls/s |\n|---:|---|---:|---:|")
	for _, callers := range []int{1, 16} {
		var old, ours []turn
		load := b.askers(stage, callers)
		load.Span = 3 * time.Second
		for range b.rounds {
			t, err := overSSH(ctx, client, callers, "cat "+answer)
			if err != nil {
				return err
			}
			old = append(old, t)
			if t, err = measure(ctx, stage.relay.Process, load); err != nil {
				return err
			}
			ours = append(ours, t)
		}
		p50 := func(t turn) time.Duration { return t.p50 }
		rate := func(t turn) float64 { return t.rate }
		fmt.Printf("| %d | SSH | %v | %.0f |\n", callers, median(old, p50).Round(time.Microsecond), median(old, rate))
		fmt.Printf("| %d | relay | %v | %.0f |\n", callers, median(ours, p50).Round(time.Microsecond), median(ours, rate))
		fmt.Printf("| %d | **relay is** | 1/%.1f | %.1f times |\n", callers,
			1/ratio(ours, old, func(t turn) float64 { return float64(t.p50) }), ratio(ours, old, rate))
	}
	return nil
}

// overSSH runs the command for 3 s from callers at once.
func overSSH(ctx context.Context, client *ssh.Client, callers int, command string) (turn, error) {
	var mu sync.Mutex
	var tally play.Tally
	var failure error
	began := time.Now()
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for ctx.Err() == nil && time.Since(began) < 3*time.Second {
				start := time.Now()
				err := once(client, command)
				mu.Lock()
				if err != nil {
					failure = err
				}
				tally.Times = append(tally.Times, time.Since(start))
				mu.Unlock()
			}
		})
	}
	running.Wait()
	tally.Took = time.Since(began)
	tally.Sort()
	return turn{p50: tally.Percentile(0.5), p99: tally.Percentile(0.99), rate: tally.PerSecond()}, errors.Join(failure, ctx.Err())
}

func once(client *ssh.Client, command string) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	out, err := session.Output(command)
	if err == nil && len(out) != 4<<10 {
		err = fmt.Errorf("ssh answered %d bytes", len(out))
	}
	return err
}

// startSSH starts an OpenSSH server on loopback with keys made for the run, and
// connects to it.
func startSSH(ctx context.Context, dir string) (*ssh.Client, func(), error) {
	host, _, err := sshKey(filepath.Join(dir, "host"))
	if err != nil {
		return nil, nil, err
	}
	_, user, err := sshKey(filepath.Join(dir, "user"))
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "authorized"), ssh.MarshalAuthorizedKey(user.PublicKey()), 0o600); err != nil {
		return nil, nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "sshd_config")
	lines := []string{
		"ListenAddress 127.0.0.1", fmt.Sprintf("Port %d", port), "HostKey " + host, "PidFile none", "UsePAM no", "StrictModes no",
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized"), "PasswordAuthentication no", "MaxSessions 64", "PermitRootLogin yes",
		"SetEnv HOME=" + dir, // else bash reads whatever its user has in .bashrc, which routers have not
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd insists on it
		return nil, nil, err
	}
	var said bytes.Buffer
	server := exec.Command(sshdPath, "-D", "-e", "-f", config)
	server.Stderr = &said
	if err := server.Start(); err != nil {
		return nil, nil, err
	}
	end := func() {
		_ = server.Process.Kill() // ours
		_ = server.Wait()
	}
	name := os.Getenv("USER")
	if os.Geteuid() == 0 {
		name = "root"
	}
	for {
		client, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &ssh.ClientConfig{
			User: name, Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, Timeout: 5 * time.Second,
			HostKeyCallback: ssh.InsecureIgnoreHostKey(), // made a moment ago, on this machine
		})
		if err == nil {
			return client, func() { client.Close(); end() }, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || ctx.Err() != nil {
			end()
			return nil, nil, fmt.Errorf("%w: %s", err, said.String())
		}
		time.Sleep(20 * time.Millisecond) // it has not opened its port yet
	}
}

// sshKey makes a key pair and writes the private one.
func sshKey(path string) (string, ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "bench")
	if err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return "", nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return path, signer, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
