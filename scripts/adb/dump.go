package adb

import (
	"crypto/ecdsa"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Dump writes what apk adbdump prints of the file, which signatures are by one
// of the keys included. It stops with an error that wraps ErrFormat at a value
// that cannot be read, where apk prints nothing for it.
func (c *Container) Dump(w io.Writer, keys ...*ecdsa.PublicKey) error {
	d, root, err := openDB(c.ADB)
	if err != nil {
		return err
	}
	schema := packageNode()
	if c.Schema == SchemaIndex {
		schema = indexNode()
	}
	y := &yaml{}
	y.line(fmt.Sprintf("#%%SCHEMA: %08X", littleEndian(string(c.Schema))))
	y.comment(fmt.Sprintf("ADB block, size: %d, compat: %d, ver: %d", len(c.ADB), c.ADB[0], c.ADB[1]))
	dump := dumper{db: d, yaml: y}
	if err := dump.fields(schema, root); err != nil {
		return err
	}
	for _, sig := range c.Signatures {
		y.comment(c.signatureLine(sig, keys))
	}
	for _, p := range c.Data {
		y.comment(fmt.Sprintf("data block, size: %d", len(p)))
	}
	_, err = io.WriteString(w, y.out.String())
	return err
}

// shownSignature is how much of a signature there is room for on apk's line:
// 160 characters of which 40 are kept for what follows.
const shownSignature = 54

func (c *Container) signatureLine(sig []byte, keys []*ecdsa.PublicKey) string {
	if len(sig) < 2 {
		return "sig too short"
	}
	shown, dots := sig[2:], ""
	if len(shown) >= shownSignature {
		shown, dots = shown[:shownSignature], ".."
	}
	result := "OK"
	if err := c.verifyOne(sig, keys); err != nil {
		result = err.Error()
	}
	return fmt.Sprintf("sig v%02x h%02x %x%s: %s", sig[0], sig[1], shown, dots, result)
}

// dumper walks a block along its schema, which bounds how deep it goes; the
// block's budget bounds how much it writes.
type dumper struct {
	*db
	yaml *yaml
}

func (d *dumper) fields(n *node, v value) error {
	slots, err := d.slots(v)
	if err != nil {
		return err
	}
	for i, f := range n.fields {
		if i+1 >= len(slots) || slots[i+1] == null {
			continue
		}
		d.yaml.key(f.name)
		if err := d.value(f.node, slots[i+1]); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

func (d *dumper) value(n *node, v value) error {
	switch n.kind {
	case kindObject:
		d.yaml.startObject()
		defer d.yaml.end()
		return d.fields(n, v)
	case kindArray:
		slots, err := d.slots(v)
		if err != nil {
			return err
		}
		d.yaml.startArray(max(len(slots), 1) - 1)
		defer d.yaml.end()
		for _, item := range slots[min(1, len(slots)):] {
			if item == null {
				continue
			}
			if err := d.value(n.item, item); err != nil {
				return err
			}
		}
		return nil
	case kindInt, kindOctal:
		num, err := d.number(v)
		s := strconv.FormatUint(num, 10)
		if n.kind == kindOctal && num > 0 {
			s = "0" + strconv.FormatUint(num, 8)
		}
		d.yaml.plain(s)
		return err
	case kindDependency:
		dep, err := d.dependency(v)
		d.yaml.text(dep.String(), false)
		return err
	}
	s, err := d.blob(v)
	if err != nil {
		return err
	}
	switch n.kind {
	case kindHex:
		s = shortHex(s, maxHex)
	case kindXattr:
		k, x, _ := strings.Cut(s, "\x00")
		s = k + "=" + shortHex(x, maxHex-len(k))
	}
	d.yaml.text(s, n.kind == kindText)
	return nil
}

// maxHex is how many hex digits apk-tools prints of one value.
const maxHex = 256

func shortHex(s string, room int) string {
	if 2*len(s) > room {
		return fmt.Sprintf("(%d bytes)", len(s))
	}
	return hex.EncodeToString([]byte(s))
}
