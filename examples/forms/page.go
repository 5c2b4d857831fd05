package main

import (
	"bytes"
	"html/template"
	"net/http"

	"cloakroom.example/session"
)

// page is what the template shows.
type page struct {
	User     string
	Notice   string // once
	Reports  []report
	Typed    report
	Mistakes map[string]string // :: field → what is wrong
	Expired  bool              // the form was not accepted because of its age
	Wrong    string            // the name whose password was wrong
	CSRF     template.HTML
}

// show draws the page, with what every page shows filled in. All of it is asked for
// before the first byte: the form token may need a cookie, and the message is
// taken out of the session.
func (a *app) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	s := session.From(r.Context())
	p.User = s.Subject()
	p.Notice, _ = notice.Get(s)
	p.Reports, _ = reports.Get(s)
	var err error
	if p.CSRF, err = a.sessions.CSRFField(r.Context()); err != nil {
		session.Deny(w, r, err)
		return
	}
	var b bytes.Buffer // so that a mistake in the template cannot send half a page
	if err := a.layout.ExecuteTemplate(&b, "page.html", p); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}
