package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// linkerPCLN is what the runtime knows of functions, as the linker writes it:
// the table .gopclntab, an eighth of the agent. These changes leave out what
// only traces have a use for. What garbage collection, growing stacks, panics
// and preemption need stays as it is.
var linkerPCLN = []edit{
	// File names and lines. The runtime's own word for an unknown place is
	// offset 0, for which it prints "?:0"; scripts/lines finds them again.
	{"cmd/link/internal/ld", "pcln.go", "pcsp, pcfile, pcline, pcinline, pcdata = ldr.PcdataAuxs(s, pcdata)", "pcsp, pcfile, pcline, pcinline, pcdata = keptValues(ldr.PcdataAuxs(s, pcdata))", 2},
	{"cmd/link/internal/ld", "pcln.go", "[]loader.Sym{pcsp, pcfile, pcline}", "[]loader.Sym{pcsp, pcfile, pcline}[:1]", 1},
	{"cmd/link/internal/ld", "pcln.go", "walkFilenames(ctxt, funcs, func(", "walkFilenames(ctxt, nil, func(", 1},
	{"cmd/link/internal/ld", "pcln.go", "const funcSize = 11 * 4", "const funcSize = 7 * 4", 1},
	{"cmd/link/internal/ld", "pcln.go", "off = sb.SetUint32(ctxt.Arch, off, uint32(ldr.SymValue(pcfile)))\n\t\t\toff = sb.SetUint32(ctxt.Arch, off, uint32(ldr.SymValue(pcline)))\n\t\t} else {\n\t\t\toff += 12\n", "_, _ = pcfile, pcline\n\t\t} else {\n\t\t\toff += 4\n", 1},
	{"cmd/link/internal/ld", "pcln.go", "off = sb.SetUint32(ctxt.Arch, off, cuIdx)", "_ = cuIdx", 1},
	{"cmd/link/internal/ld", "pcln.go", "off = sb.SetUint32(ctxt.Arch, off, uint32(startLine))", "_ = startLine", 1},
	// Arguments: traces print func(...) for func(0x1, 0x2).
	{"cmd/link/internal/ld", "pcln.go", "uint32(ldr.NumPcdata(s))", "min(uint32(ldr.NumPcdata(s)), abi.PCDATA_ArgLiveIndex)", 1},
	{"cmd/link/internal/ld", "pcln.go", "fdSyms = ldr.Funcdata(s, fdSyms)", "fdSyms = keptData(ldr, ldr.Funcdata(s, fdSyms))", 1},
	{"cmd/link/internal/ld", "pcln.go", "numFuncData := ldr.NumFuncdata(s)", "numFuncData := len(keptData(ldr, ldr.Funcdata(s, nil)))", 1},
	// Names: short, and each once.
	{"cmd/link/internal/ld", "pcln.go", "symtab.AddCStringAt(int64(off), ctxt.loader.SymName(s))", "symtab.AddCStringAt(int64(off), Name(ctxt.loader.SymName(s)))", 1},
	{"cmd/link/internal/ld", "pcln.go", "nameOffsets[s] = uint32(size)\n\t\tsize += int64(len(ctxt.loader.SymName(s)) + 1)", "nameOffsets[s], size = names.place(Name(ctxt.loader.SymName(s)), size)", 1},
	{"cmd/link/internal/ld", "pcln.go", "nameOffsets := make(map[loader.Sym]uint32, state.nfunc)", "nameOffsets, names := make(map[loader.Sym]uint32, state.nfunc), make(placed)", 1},
}

// linkerOwn goes with them.
const linkerOwn = `package ld

import (
	"cmd/link/internal/loader"
	"internal/abi"
)

func keptValues(sp, _, _, inline loader.Sym, data []loader.Sym) (loader.Sym, loader.Sym, loader.Sym, loader.Sym, []loader.Sym) {
	return sp, 0, 0, inline, data[:min(len(data), abi.PCDATA_ArgLiveIndex)]
}

func keptData(ldr *loader.Loader, data []loader.Sym) []loader.Sym {
	n := min(len(data), abi.FUNCDATA_ArgInfo)
	for _, gone := range data[n:] {
		if gone != 0 {
			ldr.SetAttrSpecial(gone, true)
			ldr.SetAttrNotInSymbolTable(gone, true)
		}
	}
	for n > 0 && data[n-1] == 0 {
		n--
	}
	return data[:n]
}

type placed map[string]uint32

func (p placed) place(name string, size int64) (uint32, int64) {
	at, ok := p[name]
	if !ok {
		at = uint32(size)
		p[name] = at
		size += int64(len(name) + 1)
	}
	return at, size
}
`

// linker builds DIR/link, the Go linker with these changes, and DIR/toolexec,
// which has go build run it.
func linker(dir string) error {
	names, err := own.ReadFile("short/short.go")
	if err != nil {
		return err
	}
	added := map[string]string{
		"netpilot_tables.go": linkerOwn,
		"netpilot_names.go":  strings.Replace(string(names), "package short", "package ld", 1),
	}
	// The go command tells linkers apart by their version.
	sum := sha256.New()
	fmt.Fprint(sum, linkerPCLN, added)
	edits := append([]edit{{"cmd/internal/objabi", "flag.go", `"%s version %s%s\n"`, fmt.Sprintf(`"%%s version %%s%%s tables:%s\n"`, hex.EncodeToString(sum.Sum(nil)[:8])), 1}}, linkerPCLN...)

	replace := make(map[string]string)
	if err := apply(dir, edits, replace); err != nil {
		return err
	}
	from, err := folder("cmd/link/internal/ld")
	if err != nil {
		return err
	}
	for name, text := range added {
		if replace[filepath.Join(from, name)], err = write(dir, name, text); err != nil {
			return err
		}
	}
	overlay, err := writeOverlay(dir, "link.json", replace)
	if err != nil {
		return err
	}
	if err := build(filepath.Join(dir, "link"), "-overlay="+overlay, "cmd/link"); err != nil {
		return err
	}
	return build(filepath.Join(dir, "toolexec"), "github.com/netpilot/netpilot/scripts/overlay/toolexec")
}

// build builds a program for this machine.
func build(out string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", out}, args...)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=", "GOARCH=", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(out), err, text)
	}
	return nil
}
