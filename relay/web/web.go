// Package web is the relay's dashboard: a page, its scripts and its style,
// which are in the program and load nothing from elsewhere. It holds no data:
// what it shows it asks the REST API for, with the key that its reader gives.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Prefix is below which the page's scripts and style are, in a folder named
// after what they hold. The page itself is at /.
const Prefix = "/dashboard/"

// keepFor is how long browsers keep scripts and style without asking again:
// what has changed has another address.
const keepFor = "public, max-age=31536000, immutable"

// page holds the files as they are served, index.html among them.
//
//go:embed page
var page embed.FS

// types are the media types of the files, by the ends of their names: the
// host's own table may say something else.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
}

// policy lets the page run its own scripts and ask this relay, and nothing
// else: no script of a router's name, no frame around it, no address to send
// a form to, and no text made HTML (CSP level 3; Trusted Types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Dashboard serves the files. Make it with New.
type Dashboard struct {
	files map[string]file // by the path of the request
}

type file struct {
	name, kind, tag, keep string
	text, packed          []byte // packed by gzip
}

// New reads the files that are in the program.
func New() (*Dashboard, error) {
	list, err := fs.ReadDir(page, "page") // sorted
	if err != nil {
		return nil, err
	}
	texts, all := make(map[string][]byte), sha256.New()
	for _, e := range list {
		text, err := page.ReadFile(path.Join("page", e.Name()))
		if err != nil {
			return nil, err
		}
		texts[e.Name()] = text
		fmt.Fprintf(all, "%s %d\n%s", e.Name(), len(text), text) // never fails
	}
	folder := Prefix + base64.RawURLEncoding.EncodeToString(all.Sum(nil)[:9]) + "/"
	d := &Dashboard{files: make(map[string]file)}
	for name, text := range texts {
		f := file{name: name, kind: types[path.Ext(name)], keep: keepFor, text: text}
		at := folder + name
		if name == "index.html" {
			at, f.keep = "/", "no-cache" // kept, but only shown when the relay says that it is the same
			f.text = bytes.ReplaceAll(text, []byte(`"`+Prefix), []byte(`"`+folder))
		}
		if f.kind == "" {
			return nil, fmt.Errorf("%s has no media type", name)
		}
		if f.packed, err = pack(f.text); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(f.text)
		f.tag = base64.RawURLEncoding.EncodeToString(sum[:12])
		d.files[at] = f
	}
	return d, nil
}

func pack(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

// Has tells whether a request is for the dashboard. At / only a browser's is,
// which says that it takes HTML: backends get there what they always got.
func (d *Dashboard) Has(r *http.Request) bool {
	if r.URL.Path == "/" {
		return (r.Method == http.MethodGet || r.Method == http.MethodHead) && names(r.Header, "Accept", "text/html")
	}
	_, ok := d.files[r.URL.Path]
	return ok
}

// names tells whether a header that says what is taken (RFC 9110 section 12.5)
// names the value, and not only a range like */*, which every program sends.
func names(h http.Header, header, value string) bool {
	for _, line := range h.Values(header) {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(name), value) {
				continue
			}
			weight, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			return !ok || strings.Trim(weight, "0.") != ""
		}
	}
	return false
}

// ServeHTTP answers GET and HEAD of what Has said is the dashboard's. After an
// upgrade no old script asks a new relay: the page names the new ones.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := d.files[r.URL.Path]
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", f.keep)
	h.Set("Vary", "Accept, Accept-Encoding")
	text, tag := f.text, f.tag
	if names(r.Header, "Accept-Encoding", "gzip") {
		h.Set("Content-Encoding", "gzip")
		text, tag = f.packed, tag+"-gzip"
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(text))
}
