// Package relay_test does what the Dockerfile says, without Docker.
package relay_test

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// image is what the last stage of the Dockerfile makes: its files below root,
// and how its program is run.
type image struct {
	t          *testing.T
	root       string
	user       syscall.Credential
	env        []string
	entrypoint []string
	health     []string
}

// build follows the Dockerfile: its RUN line in this tree with the paths of
// the build stage moved, then the instructions of the image.
func build(t *testing.T) *image {
	t.Helper()
	f, err := os.Open("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stage, last := t.TempDir(), false
	i := &image{t: t, root: filepath.Join(t.TempDir(), "root")}
	if err := os.Mkdir(i.root, 0o755); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "FROM":
			last = rest == "scratch"
		case "RUN":
			moved := strings.NewReplacer(" /netpilot-relay ", " "+stage+"/netpilot-relay ", " /data", " "+stage+"/data").Replace(rest)
			cmd := exec.Command("sh", "-ec", moved)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "VERSION=1.2.3")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("RUN %s: %v: %s", moved, err, said)
			}
		case "COPY":
			if last {
				i.copy(stage, strings.Fields(rest))
			}
		case "USER":
			uid, gid, _ := strings.Cut(rest, ":")
			i.user = syscall.Credential{Uid: i.number(uid), Gid: i.number(gid)}
		case "ENV":
			i.env = append(i.env, strings.Fields(rest)...)
		case "HEALTHCHECK":
			_, list, _ := strings.Cut(rest, " CMD ")
			if err := json.Unmarshal([]byte(list), &i.health); err != nil {
				t.Fatal(err)
			}
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &i.entrypoint); err != nil {
				t.Fatal(err)
			}
		}
	}
	return i
}

func (i *image) number(text string) uint32 {
	i.t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		i.t.Fatalf("user or group %q is no number above 0: %v", text, err)
	}
	return uint32(n)
}

func (i *image) copy(stage string, words []string) {
	i.t.Helper()
	owner := ""
	for strings.HasPrefix(words[0], "--") {
		if value, ok := strings.CutPrefix(words[0], "--chown="); ok {
			owner = value
		}
		words = words[1:]
	}
	from, to := words[0], filepath.Join(i.root, words[1])
	if _, err := os.Stat(filepath.Join(stage, from)); err == nil {
		from = filepath.Join(stage, from) // made by RUN
	} else if _, err := os.Stat(from); err != nil {
		i.t.Skipf("this machine has no %s, as the build image has: %v", from, err)
	}
	if strings.HasSuffix(words[1], "/") {
		to = filepath.Join(to, filepath.Base(from))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		i.t.Fatal(err)
	}
	if said, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		i.t.Fatalf("copy %s: %v: %s", from, err, said)
	}
	if owner != "" {
		uid, gid, _ := strings.Cut(owner, ":")
		if err := os.Chown(to, int(i.number(uid)), int(i.number(gid))); err != nil {
			i.t.Fatal(err)
		}
	}
}

// command is the image's program with arguments, as its user in its root.
func (i *image) command(env string, args ...string) *exec.Cmd {
	return i.exec(env, append(append([]string{}, i.entrypoint...), args...))
}

func (i *image) exec(env string, line []string) *exec.Cmd {
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Path = line[0] // of its root, not of ours
	cmd.Err = nil
	cmd.Dir = "/"
	cmd.Env = append(append([]string{}, i.env...), strings.Fields(env)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root, Credential: &i.user, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (i *image) run(args ...string) string {
	i.t.Helper()
	out, err := i.command("TZ=", args...).CombinedOutput()
	if err != nil {
		i.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

var whole = flag.Bool("image", false, "build and try the image's program, which takes a release build: make image")

// TestImage: the image's program is static, finds the CA roots, serves as its
// user with nothing but its files, in the time zone it is told, makes keys and
// backups, and stops when it is told to.
func TestImage(t *testing.T) {
	if !*whole {
		t.Skip("it takes a release build; make image runs it")
	}
	if os.Getuid() != 0 {
		t.Skip("a root directory of one's own wants root")
	}
	i := build(t)
	program, err := elf.Open(filepath.Join(i.root, i.entrypoint[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program is not static")
		}
	}
	roots, err := os.ReadFile(filepath.Join(i.root, "etc/ssl/certs/ca-certificates.crt"))
	if block, _ := pem.Decode(roots); err != nil || block == nil {
		t.Errorf("the CA roots: %v", err)
	}
	if got := i.run("version"); !strings.Contains(got, "1.2.3") {
		t.Errorf("version: got %q", got)
	}
	serve := i.command("TZ=Asia/Tokyo NETPILOT_RELAY_LISTEN=127.0.0.1:0", "serve")
	log := &saying{word: []byte(`"serving"`), said: make(chan struct{})}
	serve.Stderr = log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }() // ends with the relay
	select {
	case <-log.said:
	case err := <-ended:
		t.Fatalf("the relay does not serve: %v; %s", err, log)
	}
	_, url, _ := strings.Cut(log.String(), `"msg":"serving","url":"`)
	url, _, _ = strings.Cut(url, `"`)
	addr := strings.TrimPrefix(url, "http://")
	client := &http.Client{Timeout: 3 * time.Minute}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %d %s, %v", resp.StatusCode, body, err)
	}
	var answer struct{ Metadata struct{ Timestamp string } }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	tokyo := time.FixedZone("", 9*3600)
	stamp, err := time.ParseInLocation("2006-01-02T15:04:05.000000", answer.Metadata.Timestamp, tokyo)
	if err != nil || time.Since(stamp).Abs() > time.Hour {
		t.Errorf("got timestamp %q, %v, want the time of Tokyo", answer.Metadata.Timestamp, err)
	}
	if said, err := i.exec("NETPILOT_RELAY_LISTEN="+addr, i.health).CombinedOutput(); err != nil || !strings.Contains(string(said), "healthy") {
		t.Errorf("the health check: %v: %s", err, said)
	}
	if key := i.run("key", "create", "--name", "test"); !strings.HasPrefix(key, "npk_") {
		t.Errorf("key: got %q", key)
	}
	i.run("backup", "--to", "/var/lib/netpilot-relay/backup.db")
	if _, err := os.Stat(filepath.Join(i.root, "var/lib/netpilot-relay/backup.db")); err != nil {
		t.Error(err)
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the relay ended with %v: %s", err, log.String())
	}
	if said, err := i.exec("NETPILOT_RELAY_LISTEN="+addr, i.health).CombinedOutput(); err == nil {
		t.Errorf("the health check of a relay that has stopped: %s", said)
	}
	if first, _, _ := strings.Cut(log.String(), "\n"); !json.Valid([]byte(first)) {
		t.Errorf("the log is not JSON: %s", first)
	}
}

// saying is what a program writes, and an event once a word is in it.
type saying struct {
	word []byte
	said chan struct{}

	mu   sync.Mutex // guards below
	text bytes.Buffer
}

func (s *saying) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := bytes.Contains(s.text.Bytes(), s.word)
	s.text.Write(p)
	if !before && bytes.Contains(s.text.Bytes(), s.word) {
		close(s.said)
	}
	return len(p), nil
}

func (s *saying) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
