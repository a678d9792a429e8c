package play

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that was started here and is ended here.
type Process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner // of its standard output
	said  *beginning     // of its standard error
}

// Start starts a program. Stop must be called.
func Start(name string, args ...string) (*Process, error) { return start(nil, name, args...) }

// start is Start with more in the environment than there is in ours.
func start(env []string, name string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(name, args...), said: new(beginning)}
	p.cmd.Env = append(os.Environ(), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphan outlives the test
	p.lines = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// Line is the next line it prints.
func (p *Process) Line() (string, error) {
	if p.lines.Scan() {
		return p.lines.Text(), nil
	}
	return "", fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), strings.TrimSpace(p.said.String()))
}

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends it with SIGTERM, after 15 s with SIGKILL.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	kill := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for p.lines.Scan() { // what it still prints must not block it
	}
	_ = p.cmd.Wait()
}

// CPU is the processor time it has used (proc(5), stat fields 14 and 15).
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("stat is too short")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) // USER_HZ is 100
}

// Resident is its memory in bytes (VmRSS).
func (p *Process) Resident() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(number)
	return kib << 10, err
}

// beginning keeps the first 64 KiB of what is written to it.
type beginning struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *beginning) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p[:min(len(p), 64<<10-b.buf.Len())])
	return len(p), nil
}

func (b *beginning) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Relay is a relay process with a data directory of its own.
type Relay struct {
	*Process
	URL  string
	Data string
	bin  string
}

// relayEnv is how scripts/relay has the relay's runtime set.
func relayEnv() []string { return []string{"GODEBUG=adaptivestackstart=0"} }

// StartRelay starts the relay program on loopback with the data in dir and no
// limit to a key's requests, and returns when it serves.
func StartRelay(ctx context.Context, bin, dir string, args ...string) (*Relay, error) {
	ready := filepath.Join(dir, "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p, err := start(relayEnv(), bin, append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--key-rate", "0", "--ready-file", ready}, args...)...)
	if err != nil {
		return nil, err
	}
	r := &Relay{Process: p, Data: dir, bin: bin}
	for {
		text, err := os.ReadFile(ready)
		if err == nil {
			r.URL = strings.TrimSpace(string(text))
			return r, nil
		}
		select {
		case <-ctx.Done():
			p.Stop()
			return nil, fmt.Errorf("the relay did not begin to serve: %s", strings.TrimSpace(p.said.String()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// NewKey makes an API key that may read every router.
func (r *Relay) NewKey(name string) (string, error) {
	out, err := exec.Command(r.bin, "key", "create", "--data", r.Data, "--name", name).Output()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
