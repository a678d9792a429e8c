package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	relay "github.com/netpilot/netpilot/relay/command"
)

const (
	jailerEnv = "NETPILOT_TEST_JAIL" // makes the test binary be ujail's stand-in
	agentUser = 477
	soon      = 4 * time.Minute // bounds every wait for something that is about to happen
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(jailerEnv); spec != "" {
		if err := jailer(spec); err != nil {
			fmt.Fprintln(os.Stderr, "jailer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// jailSpec is what procd would hand to ujail.
type jailSpec struct {
	Root    string   // the router
	Jail    string   // an empty directory that becomes the agent's root
	RO, RW  []string // directories and files that show in the jail
	Command []string
	Env     []string
}

// jailer does what ujail does with the spec: a mount space in which nothing is
// but what was asked for, read-only where it was asked so; a user with one
// capability and no way to more.
func jailer(text string) error {
	var s jailSpec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	runtime.LockOSThread() // what follows is this thread's, and its child's
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("jail", s.Jail, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("tmpfs: %w", err)
	}
	mounts := make(map[string]bool) // whether it can be written
	for _, p := range s.RO {
		mounts[p] = false
	}
	for _, p := range s.RW {
		mounts[p] = true
	}
	paths := make([]string, 0, len(mounts))
	for p := range mounts {
		paths = append(paths, p)
	}
	slices.Sort(paths) // a directory before what is in it, as in ujail
	for _, p := range paths {
		if err := bind(filepath.Join(s.Root, p), filepath.Join(s.Jail, p), mounts[p]); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := unix.Mount("", s.Jail, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("read-only root: %w", err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if c != unix.CAP_DAC_OVERRIDE {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
				return fmt.Errorf("bounding set: %w", err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path: s.Command[0], Args: s.Command, Env: s.Env, Dir: "/", Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{
			Chroot: s.Jail, Credential: &syscall.Credential{Uid: agentUser, Gid: agentUser},
			AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE}, Pdeathsig: syscall.SIGTERM,
		},
	}
	return cmd.Run() // ends when this process is killed, by Pdeathsig
}

// bind shows from at to; what is not there is left out, as ujail does.
func bind(from, to string, write bool) error {
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil && !os.IsExist(err) {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV)
	if !write {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", to, "", flags, "")
}

// TestAgentInItsJail installs the real agent on the scratch router, enrols it
// at a real relay as a person would, and runs it as the init script tells
// procd: in a jail that shows only the mounts it asks for, as user netpilot
// with CAP_DAC_OVERRIDE alone, beside a simulated nlbwmon whose socket is
// root's.
func TestAgentInItsJail(t *testing.T) {
	r := newRouter(t)
	if err := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", t.TempDir()).Run(); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	binary := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=1.2.3 -X main.built=1764000000", "-o", binary, "../../agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(binary)
	r.check(err)
	p := testRecipe(t, "1.2.3", text)
	opkgManager{}.install(r, p)
	if _, err := exec.LookPath("ujail"); err == nil {
		r.program("ujail", "sbin/ujail")
		r.ubusd()
		t.Log("in the real ujail")
	} else {
		r.write("sbin/ujail", "", 0o755)
		r.check(os.MkdirAll(r.path("jail"), 0o755))
	}
	// The kernel's own, as on a router: which boot this is, and when nlbwmon
	// began.
	r.write("proc/sys/kernel/random/boot_id", "6d1e2b1c-0000-4000-8000-000000000001\n", 0o444)
	r.nlbwmon()

	url, token := startRelay(t)
	r.write("tmp/token", token(), 0o600)
	r.calls()
	// enroll restarts the service and waits for its link, so it ends only once
	// the jailed agent is up.
	enrol := r.command("/usr/sbin/netpilot-agent", "enroll", "--relay", url, "--token-file", "/tmp/token")
	var said bytes.Buffer
	enrol.Stdout, enrol.Stderr = &said, &said
	r.check(enrol.Start())
	calls := r.waitForCalls("set end")
	wantInOrder(t, calls, "enable netpilot-agent", "delete netpilot-agent", "instance end")
	stop, _ := r.jail(calls)
	if err := enrol.Wait(); err != nil || !strings.Contains(said.String(), "the link is up") {
		t.Fatalf("enroll: %v\n%s", err, said.String())
	}
	s := r.status()
	if s.Privileges != "477" || !s.Uplink.Connected || !s.Nlbwmon.OK {
		t.Errorf("status: %+v", s)
	}
	r.confined()

	// What it wrote, and whose it is.
	for path, mode := range map[string]fs.FileMode{"etc/netpilot": 0o700, "tmp/netpilot": 0o700, "etc/netpilot/identity.json": 0o600, "tmp/run/netpilot/agent.sock": 0o600} {
		if info, err := os.Stat(r.path(path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	stop()
	if entries, err := os.ReadDir(r.path("tmp/netpilot")); err != nil || len(entries) == 0 {
		t.Errorf("no history: %v, %v", entries, err)
	}
	if info, err := os.Stat(r.path("etc/netpilot/last-good-time")); err != nil || owner(info) != agentUser {
		t.Errorf("it could not write to flash as its own user: %v, %v", info, err)
	}

	// Taken off and installed again it goes on, as after a sysupgrade.
	opkgManager{}.remove(r, p.name)
	r.calls()
	opkgManager{}.install(r, p)
	stop, log := r.jail(r.calls())
	log.says(t, "link up")
	if s := r.status(); !s.Uplink.Connected {
		t.Errorf("no link after the second installation: %+v", s)
	}
	stop()
}

// nlbwmon plays a recording beside the agent.
func (r *router) nlbwmon() {
	r.t.Helper()
	dir := r.path("tmp/lib/nlbwmon")
	opts, err := nlbwmontest.FromRecording("../../pkg/nlbwmon/testdata/recordings/live-lab", dir)
	r.check(err)
	opts.Socket = r.path("tmp/run/nlbwmon.sock")
	if opts.SnapshotPath != "" {
		r.check(os.Rename(opts.SnapshotPath, r.path("tmp/0.db")))
		opts.SnapshotPath = r.path("tmp/0.db")
	}
	d, err := nlbwmontest.Start(opts)
	r.check(err)
	r.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.check(os.Chmod(opts.Socket, 0o755)) // as the real one's: root alone may write
}

// startRelay returns a relay's address and what makes enrolment tokens.
func startRelay(t *testing.T) (url string, token func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	data := filepath.Join(t.TempDir(), "relay")
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx
		ended <- relay.Serve(ctx, relay.Config{
			Version: "1.2.3", Listen: "127.0.0.1:0", Data: data, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
			Ready: func(url string) error { ready <- url; return nil },
		})
	}()
	select {
	case url = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("relay: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	return url, func() string {
		var out, complaints bytes.Buffer
		args := []string{"netpilot-relay", "enrolment", "create", "--data", data}
		if exit := relay.Run(context.Background(), "1.2.3", args, strings.NewReader(""), &out, &complaints); exit != 0 {
			t.Fatalf("enrolment create: %s", complaints.String())
		}
		return out.String()
	}
}

// waitForCalls waits until the scripts have noted the line.
func (r *router) waitForCalls(line string) []string {
	r.t.Helper()
	var all []string
	r.await("tmp", fmt.Sprintf("%q is noted", line), func() bool {
		all = append(all, r.calls()...)
		return slices.Contains(all, line)
	})
	return all
}

// await waits until what is in a directory makes something true, and looks
// again whenever that has changed.
func (r *router) await(dir, what string, true func() bool) {
	r.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	r.check(err)
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if _, err := unix.InotifyAddWatch(fd, r.path(dir), unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_TO); err != nil {
		r.t.Fatal(err)
	}
	r.check(events.SetReadDeadline(time.Now().Add(soon)))
	buf := make([]byte, 64<<10)
	for !true() {
		if _, err := events.Read(buf); err != nil {
			r.t.Fatalf("%s: %v", what, err)
		}
	}
}

// journal is what a program writes, for who waits for a word in it.
type journal struct {
	wrote chan struct{} // of capacity 1

	mu   sync.Mutex // guards below
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	select {
	case j.wrote <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// says waits for the word.
func (j *journal) says(t *testing.T, word string) {
	t.Helper()
	late := time.After(soon)
	for !strings.Contains(j.String(), word) {
		select {
		case <-j.wrote:
		case <-late:
			t.Fatalf("no %q in the log:\n%s", word, j)
		}
	}
}

// jail starts what the noted calls describe, as procd would, and returns what
// ends it, and its log.
func (r *router) jail(calls []string) (stop func(), log *journal) {
	r.t.Helper()
	// As ujail by itself: the program and who the users are.
	spec := jailSpec{Root: r.root, Jail: r.path("jail"), RO: []string{"/usr/sbin/netpilot-agent", "/etc/passwd", "/etc/group"}}
	var flags []string
	for _, c := range calls {
		f := strings.Fields(c)
		switch {
		case strings.HasPrefix(c, "param user "):
			flags = append(flags, "-U", f[2])
		case strings.HasPrefix(c, "param group "):
			flags = append(flags, "-G", f[2])
		case strings.HasPrefix(c, "param capabilities "):
			flags = append(flags, "-C", f[2])
		case strings.HasPrefix(c, "param no_new_privs 1"):
			flags = append(flags, "-c")
		case strings.HasPrefix(c, "mount ro "):
			spec.RO = append(spec.RO, f[2:]...)
		case strings.HasPrefix(c, "mount rw "):
			spec.RW = append(spec.RW, f[2:]...)
		case strings.HasPrefix(c, "param command "):
			spec.Command = f[2:]
		case strings.HasPrefix(c, "param env "):
			spec.Env = f[2:]
		case strings.HasPrefix(c, "jail "):
			if slices.Contains(f, "sysfs") {
				spec.RO = append(spec.RO, "/sys")
			}
		}
	}
	if len(spec.Command) == 0 {
		r.t.Fatalf("no command among %q", calls)
	}
	cmd := r.jailed(&spec, flags)
	log = &journal{wrote: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	r.check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the agent
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		_ = cmd.Process.Signal(syscall.SIGTERM) // the agent gets one when this one dies
		<-ended
		if r.t.Failed() {
			r.t.Logf("the agent's log:\n%s", log)
		}
	}
	r.t.Cleanup(stop)
	return stop, log
}

// ubusd runs the real one, without which ujail does not begin.
func (r *router) ubusd() {
	r.t.Helper()
	r.program("ubusd", "sbin/ubusd")
	r.write("etc/nsswitch.conf", "", 0o644)
	r.check(os.MkdirAll(r.path("tmp/run/ubus"), 0o755))
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		_ = os.Remove(r.path("dev/" + name))
		r.check(unix.Mknod(r.path("dev/"+name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))))
	}
	cmd := r.command("/sbin/ubusd", "-s", "/var/run/ubus/ubus.sock")
	var said bytes.Buffer
	cmd.Stderr = &said
	r.check(cmd.Start())
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it was to be
		if r.t.Failed() {
			r.t.Logf("ubusd says: %s", said.String())
		}
	})
	r.await("tmp/run/ubus", "ubusd makes its socket", func() bool {
		_, err := os.Stat(r.path("tmp/run/ubus/ubus.sock"))
		return err == nil
	})
}

// confined looks at what the kernel says of the agent (proc(5)): its user, its
// one capability in all five sets, and no way to more.
func (r *router) confined() {
	r.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/status")
	r.check(err)
	found := false
	for _, file := range files {
		words, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")) // of one that ended: none
		if !strings.HasPrefix(string(words), "/usr/sbin/netpilot-agent\x00run") {
			continue
		}
		text, _ := os.ReadFile(file)
		if !strings.Contains(string(text), fmt.Sprintf("Uid:\t%d\t", agentUser)) {
			continue // of another test
		}
		found = true
		for _, want := range []string{"CapInh:\t0000000000000002", "CapPrm:\t0000000000000002", "CapEff:\t0000000000000002",
			"CapBnd:\t0000000000000002", "CapAmb:\t0000000000000002", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want+"\n") {
				r.t.Errorf("the agent has not %q:\n%s", want, text)
			}
		}
	}
	if !found {
		r.t.Error("no agent runs as the user of its own")
	}
}

// jailed is how to start it: by the real ujail where the router has it, with
// the arguments that procd would give it (its service/instance.c), else by the
// stand-in.
func (r *router) jailed(spec *jailSpec, flags []string) *exec.Cmd {
	r.t.Helper()
	if info, err := os.Stat(r.path("sbin/ujail")); err != nil || info.Size() == 0 {
		text, err := json.Marshal(spec)
		r.check(err)
		self, err := os.Executable()
		r.check(err)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), jailerEnv+"="+string(text))
		return cmd
	}
	args := append([]string{"/sbin/ujail", "-t", "10", "-n", "netpilot"}, flags...)
	args = append(args, "-s")
	for _, v := range spec.Env {
		name, _, _ := strings.Cut(v, "=")
		args = append(args, "-e", name)
	}
	for _, p := range spec.RO[3:] { // what comes before, ujail finds itself
		args = append(args, "-r", p)
	}
	for _, p := range spec.RW {
		args = append(args, "-w", p)
	}
	args = append(append(args, "--"), spec.Command...)
	// The router's root as a mount of its own: ujail changes roots.
	const enter = `root=$1; shift; mount --make-rprivate / && mount --bind "$root" "$root" && exec chroot "$root" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", enter, "sh", r.root}, args...)...)
	cmd.Env = append(spec.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	return cmd
}

// status is what a technician sees.
func (r *router) status() (s struct {
	Privileges string
	Uplink     struct{ Connected bool }
	Nlbwmon    struct{ OK bool }
}) {
	r.t.Helper()
	out, err := r.command("/usr/sbin/netpilot-agent", "status", "--json").Output()
	if err := json.Unmarshal(out, &s); err != nil {
		r.t.Fatalf("status: %v: %s", err, out)
	}
	_ = err // exit code 1 says that nlbwmon cannot be read, as s does
	return s
}
