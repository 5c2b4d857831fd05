package demo

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"cloakroom.example/session"
)

//go:embed templates
var templates embed.FS

// notice is a sentence for the next page that is shown.
var notice = session.NewKey[string]("notice", session.Flash)

// page is what the layout shows around every page, and the page's own data.
type page struct {
	Title  string
	Here   string // path, to mark where we are
	User   string
	Role   string
	Warn   int    // seconds before the end of the session to warn at
	Next   string // where to go on after signing in again
	Pieces int    // in the basket
	CSRF   template.HTML
	Notice string
	Data   any
}

// parsePages returns each page's template within the common layout.
func (s *Shop) parsePages() (map[string]*template.Template, error) {
	layout, err := template.New("layout.html").
		Funcs(template.FuncMap{"asset": s.files.url, "price": price, "stamp": stamp, "moment": moment}).
		ParseFS(templates, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("parsing the layout: %w", err)
	}
	pages := make(map[string]*template.Template)
	for _, name := range []string{"shop", "cart", "login", "login-code", "account", "account-password", "account-confirm", "account-code",
		"account-factor", "problem", "admin", "admin-session", "admin-end", "try", "try-attack"} {
		base, err := layout.Clone()
		if err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
		if pages[name], err = base.ParseFS(templates, "templates/"+name+".html"); err != nil {
			return nil, fmt.Errorf("parsing page %s: %w", name, err)
		}
	}
	return pages, nil
}

// stamp writes a time for programs.
func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// moment writes a time for people.
func moment(t time.Time) string { return t.Format("2 January, 15:04") }

// show answers with a page, filled in with what the session knows.
func (s *Shop) show(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	var err error
	current := session.From(r.Context())
	p.Here, p.User, p.Role, p.Pieces = r.URL.Path, current.Subject(), current.Role(), pieces(current)
	if known, ok := current.Snapshot(); ok {
		p.Warn, p.Next = int(warnBefore(known.Idle).Seconds()), localPath(p.Here)
	}
	if p.CSRF, err = s.sessions.CSRFField(r.Context()); err != nil {
		s.denied(w, r, err)
		return
	}
	if p.Notice == "" {
		// Pop rather than Get: of two tabs, one shows it, and neither of them
		// fails because the other one was faster. Without it the page is
		// still worth showing, such as after a session that has just ended.
		p.Notice, _, _ = notice.Pop(r.Context(), current)
	}
	if p.User == "" {
		// The forms of a visitor's page die with the login; going back must
		// fetch new ones. Signed-in pages get this from the library.
		w.Header().Set("Cache-Control", "no-store")
	}
	s.write(w, status, name, p)
}

// write renders before it writes, so that an error is not half a page.
func (s *Shop) write(w http.ResponseWriter, status int, name string, p page) {
	var b bytes.Buffer
	if err := s.pages[name].Execute(&b, p); err != nil {
		panic(fmt.Sprintf("demo: internal error: rendering page %s: %v", name, err))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may be gone
}
