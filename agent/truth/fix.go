package truth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/atomicfile"
	"github.com/netpilot/netpilot/pkg/uci"
	"github.com/netpilot/netpilot/pkg/usage"
)

// undoDir holds a record of each fix that was begun, below the root.
const undoDir = "/etc/netpilot/undo"

// fix is what cures a finding. It is stored before its first step, whole, so
// that whatever of it was done can be undone.
type fix struct {
	ID       string       `json:"id"`
	At       time.Time    `json:"at"`
	Steps    []step       `json:"steps"`
	Services []serviceRun `json:"services"` // then, in this order
	err      error        // why it cannot be done
}

// step changes one file.
type step struct {
	Kind    string      `json:"kind"` // one of the kinds below
	Path    string      `json:"path"` // below the root
	To      string      `json:"to,omitempty"`
	Existed bool        `json:"existed"`
	Old     string      `json:"old"`
	New     string      `json:"new"`
	Mode    fs.FileMode `json:"mode"`
}

const (
	kindFile   = "file"   // replaced as a whole, atomically
	kindValue  = "value"  // a switch of the kernel below /proc/sys
	kindRename = "rename" // Path becomes To
)

// serviceRun is an init script and its action; Undo is the action that goes
// with undoing, "" for none.
type serviceRun struct {
	Name   string `json:"name"`
	Action string `json:"action"`
	Undo   string `json:"undo"`
}

// file adds the step that makes change of the file's present text.
func (f *fix) file(r *Router, path string, mode fs.FileMode, change func(old []byte) ([]byte, error)) {
	s := step{Kind: kindFile, Path: path, Mode: mode}
	old, there, err := r.Root.Optional(path)
	if err != nil {
		f.err = errors.Join(f.err, err)
		return
	}
	if len(old) >= maxRead {
		f.err = errors.Join(f.err, fmt.Errorf("%s is too long to be changed", r.Root.Path(path)))
		return
	}
	if there {
		if info, err := os.Stat(r.Root.Path(path)); err == nil {
			s.Mode = info.Mode().Perm()
		}
	}
	text, err := change([]byte(old))
	if err != nil {
		f.err = errors.Join(f.err, err)
		return
	}
	s.Existed, s.Old, s.New = there, old, string(text)
	f.Steps = append(f.Steps, s)
}

// set sets an option of the first section of a type.
func (f *fix) set(r *Router, path, section, option, value string) {
	f.file(r, path, 0o600, func(old []byte) ([]byte, error) {
		return uci.ReviseText(old, r.Root.Path(path), func(t *uci.Text) error {
			s, err := firstSection(t, section)
			if err != nil {
				return err
			}
			return t.Set(s, option, value)
		})
	})
}

// add adds to a list of the first section of a type.
func (f *fix) add(r *Router, path, section, list, value string) {
	f.file(r, path, 0o600, func(old []byte) ([]byte, error) {
		return uci.ReviseText(old, r.Root.Path(path), func(t *uci.Text) error {
			s, err := firstSection(t, section)
			if err != nil {
				return err
			}
			return t.AddTo(s, list, value)
		})
	})
}

// firstSection is the first section of a type, made if there is none.
func firstSection(t *uci.Text, kind string) (*uci.Section, error) {
	if s := t.File.Section(kind, ""); s != nil {
		return s, nil
	}
	return t.Add(kind, kind)
}

func (f *fix) rename(path, to string) {
	f.Steps = append(f.Steps, step{Kind: kindRename, Path: path, To: to})
}

// sysctl is the fix that sets a switch of the kernel, now and at each boot.
func (r *Router) sysctl(id, key, value string, services ...serviceRun) *fix {
	f := &fix{Services: services}
	f.file(r, "/etc/sysctl.d/90-netpilot-"+id+".conf", 0o644, func([]byte) ([]byte, error) {
		return []byte(key + "=" + value + "\n"), nil
	})
	live := step{Kind: kindValue, Path: "/proc/sys/" + strings.ReplaceAll(key, ".", "/"), New: value + "\n"}
	var err error
	live.Old, live.Existed, err = r.Root.Optional(live.Path)
	f.err = errors.Join(f.err, err)
	f.Steps = append(f.Steps, live)
	return f
}

// Fix cures one finding, if it is there now and can be cured by a program.
func (r *Router) Fix(ctx context.Context, id string) error {
	if r.recorded(id) {
		return usage.Errorf(usage.Invalid, "%s was fixed before, or half fixed; first: netpilot-agent doctor --undo %s", id, id)
	}
	found, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	f := found.fix
	if f == nil {
		return usage.Errorf(usage.Invalid, "%s cannot be cured by a program; do: %s", id, found.Cure)
	}
	if f.err != nil {
		return fmt.Errorf("fix %s: %w", id, f.err)
	}
	f.ID, f.At = id, r.Now()
	if err := r.record(f); err != nil {
		return fmt.Errorf("fix %s: nothing was changed: %w", id, err)
	}
	if err := r.apply(f.Steps); err != nil {
		return fmt.Errorf("fix %s: %w; take back what was done with: netpilot-agent doctor --undo %s", id, err, id)
	}
	for _, s := range f.Services {
		if err := r.service(ctx, s.Name, s.Action); err != nil {
			return fmt.Errorf("fix %s: the files are changed, but %w; try it by hand, or: netpilot-agent doctor --undo %s", id, err, id)
		}
	}
	return nil
}

func (r *Router) apply(steps []step) error {
	for _, s := range steps {
		if err := r.move(s, s.Existed, s.Old, true, s.New, false); err != nil {
			return err
		}
	}
	return nil
}

// Undo takes a fix back, whether all of it was done or only a part. A file
// that was changed since is left, and the record stays.
func (r *Router) Undo(ctx context.Context, id string) error {
	f, err := r.load(id)
	if err != nil {
		return err
	}
	for i := len(f.Steps) - 1; i >= 0; i-- {
		s := f.Steps[i]
		if err := r.move(s, true, s.New, s.Existed, s.Old, true); err != nil {
			return fmt.Errorf("undo %s: %w; the old text stands in %s", id, err, r.recordPath(id))
		}
	}
	var errs []error
	for _, s := range f.Services {
		if s.Undo != "" {
			errs = append(errs, r.service(ctx, s.Name, s.Undo))
		}
	}
	if err := os.Remove(r.recordPath(id)); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("undo %s: the files are as they were, but %w", id, err)
	}
	return nil
}

// move takes a file from one state to another. One that is there already is
// left; one in a third state is not ours to change.
func (r *Router) move(s step, fromThere bool, from string, toThere bool, to string, back bool) error {
	if s.Kind == kindRename {
		a, b := s.Path, s.To
		if back {
			a, b = b, a
		}
		if !r.Root.Exists(a) && r.Root.Exists(b) {
			return nil
		}
		if r.Root.Exists(b) {
			return fmt.Errorf("%s is in the way", r.Root.Path(b))
		}
		return os.Rename(r.Root.Path(a), r.Root.Path(b))
	}
	now, there, err := r.Root.Optional(s.Path)
	path := r.Root.Path(s.Path)
	switch {
	case err != nil:
		return err
	case s.Kind == kindValue:
		if !there || strings.TrimSpace(now) == strings.TrimSpace(to) {
			return nil // the kernel's module was unloaded, or has it
		}
		return setValue(path, to)
	case there == toThere && now == to:
		return nil
	case there != fromThere || now != from:
		return usage.Errorf(usage.Invalid, "%s was changed meanwhile; undo first what came later, or edit it by hand", path)
	case !toThere:
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(to), s.Mode)
}

// setValue writes a switch of the kernel, which is no file to replace.
func setValue(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// service runs an init script of the router.
func (r *Router) service(ctx context.Context, name, action string) error {
	path := "/etc/init.d/" + name
	switch {
	case r.Kernel == nil:
		return fmt.Errorf("%s %s: these are not this machine's services", path, action)
	case !r.Root.Exists(path):
		return fmt.Errorf("%s: %w", r.Root.Path(path), fs.ErrNotExist)
	}
	return r.Kernel.Service(ctx, r.Root.Path(path), action)
}

func (r *Router) recordPath(id string) string {
	return r.Root.Path(filepath.Join(undoDir, filepath.Base(id)+".json"))
}

func (r *Router) recorded(id string) bool {
	_, err := os.Lstat(r.recordPath(id))
	return err == nil
}

// record stores what is about to be done. The old texts may hold secrets.
func (r *Router) record(f *fix) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Root.Path(undoDir), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(r.recordPath(f.ID), append(text, '\n'), 0o600)
}

func (r *Router) load(id string) (*fix, error) {
	text, err := os.ReadFile(r.recordPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage.Errorf(usage.NotFound, "%s: nothing to undo; no record in %s", usage.Clean(id, 64), r.Root.Path(undoDir))
	}
	if err != nil {
		return nil, err
	}
	f := new(fix)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.recordPath(id), err)
	}
	for _, s := range f.Services { // a record names services, and only these run
		if !strings.Contains(" nlbwmon firewall sysntpd netpilot-agent ", " "+s.Name+" ") {
			return nil, fmt.Errorf("read %s: no service %q", r.recordPath(id), usage.Clean(s.Name, 64))
		}
	}
	return f, nil
}
