// Luci writes the template for translations of luci-app-netpilot: every text
// that its pages hand to LuCI's _() and its menu's titles, sorted, with where
// they stand. Its test has the pages run in a browser.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	app = "openwrt-package/luci-app-netpilot"
	// template is where LuCI's translations begin, below app.
	template = "po/templates/netpilot.pot"
)

func main() {
	text, err := potOf(app)
	if err == nil {
		err = os.WriteFile(filepath.Join(app, template), text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "luci:", err)
		os.Exit(1)
	}
}

// call is a use of _() whose argument is one literal.
var call = regexp.MustCompile(`\b_\('((?:[^'\\\n]|\\.)*)'\)`)

// anyCall is every use, so that none with something else goes unseen.
var anyCall = regexp.MustCompile(`\b_\(`)

// potOf is the template of the app in dir.
func potOf(dir string) ([]byte, error) {
	found := make(map[string][]string) // where each text stands
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		menu := strings.Contains(name, "menu.d")
		if !menu && filepath.Ext(name) != ".js" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if menu {
			var entries map[string]struct{ Title string }
			if err := json.Unmarshal(text, &entries); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, e := range entries {
				found[e.Title] = append(found[e.Title], name)
			}
			return nil
		}
		calls := call.FindAllSubmatchIndex(text, -1)
		if all := len(anyCall.FindAllIndex(text, -1)); all != len(calls) {
			return fmt.Errorf("%s: %d texts for _(), of which %d are one literal in single quotes", name, all, len(calls))
		}
		for _, at := range calls {
			id := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(string(text[at[2]:at[3]]))
			line := bytes.Count(text[:at[0]], []byte("\n")) + 1
			found[id] = append(found[id], fmt.Sprintf("%s:%d", name, line))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var b bytes.Buffer
	b.WriteString("msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\"\n")
	for _, id := range ids {
		slices.Sort(found[id])
		b.WriteString("\n")
		for _, where := range found[id] {
			fmt.Fprintf(&b, "#: %s\n", where)
		}
		fmt.Fprintf(&b, "msgid \"%s\"\nmsgstr \"\"\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id))
	}
	return b.Bytes(), nil
}
