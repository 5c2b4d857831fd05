package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// staticPrefix is where the files are. They have no session.
const staticPrefix = "/static/"

func isStatic(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, staticPrefix) }

// files serves the style sheet and the drawings. Their addresses carry a part of
// their hash, so that browsers may keep them for good.
type files struct {
	content map[string][]byte // :: path → content
	urls    map[string]string // :: file name → address
}

func newFiles() (*files, error) {
	f := &files{content: make(map[string][]byte), urls: make(map[string]string)}
	names, err := fs.Glob(static, "static/*")
	if err != nil {
		return nil, fmt.Errorf("listing files: %w", err)
	}
	for _, name := range names {
		content, err := static.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		hash := sha256.Sum256(content)
		base := path.Base(name)
		url := staticPrefix + hex.EncodeToString(hash[:6]) + "/" + base
		f.content[url], f.urls[base] = content, url
	}
	return f, nil
}

// url returns the address of a file. It panics if there is none, because that is
// a mistake in a template.
func (f *files) url(name string) string {
	url, ok := f.urls[name]
	if !ok {
		panic("demo: no file static/" + name)
	}
	return url
}

// ServeHTTP implements http.Handler.
func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := f.content[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
