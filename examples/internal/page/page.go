// Package page draws the page of the examples that show how a framework is
// joined to the sessions: who is signed in, a counter, and the forms for them.
package page

import (
	"html/template"
	"io"
)

// Page is what there is to see.
type Page struct {
	Title string
	User  string // empty if nobody is signed in
	Count int
	CSRF  template.HTML // of session.Manager.CSRFField
}

var layout = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{with .User}}<b>{{.}}</b> is signed in.{{else}}Nobody is signed in.{{end}} Counted: <output>{{.Count}}</output></p>
<form method="post" action="/count">{{.CSRF}}<button>Count</button></form>
<form method="post" action="/fail">{{.CSRF}}<button>Count to 1000, then panic</button></form>
{{- if .User}}
<form method="post" action="/logout">{{.CSRF}}<button>Sign out</button></form>
{{- else}}
<form method="post" action="/login">{{.CSRF}}
<label>Name <input name="user" value="alice" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label> (coat)
<button>Sign in</button></form>
{{- end}}
<p>For those who are signed in: <a href="/account">account</a>, <a href="/account/clock">clock</a></p>
</html>
`))

// Write writes the page.
func Write(w io.Writer, p Page) error { return layout.Execute(w, p) }
