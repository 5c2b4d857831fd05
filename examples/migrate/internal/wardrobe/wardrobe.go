// Package wardrobe draws the page of the application that is migrated: who is
// signed in, and which coats he has hung up.
package wardrobe

import (
	"html/template"
	"io"
	"time"
)

// Page is what there is to see.
type Page struct {
	Library string
	User    string // empty if nobody is signed in
	Notice  string // once
	Coats   []string
	Ends    time.Time     // of the session, at the latest; zero if unknown
	CSRF    template.HTML // empty where there are no form tokens
}

var layout = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Wardrobe on {{.Library}}</title>
<h1>Wardrobe on {{.Library}}</h1>
{{with .Notice}}<p role="status">{{.}}</p>
{{end -}}
<p>{{with .User}}<b>{{.}}</b> is signed in{{else}}Nobody is signed in{{end}}
{{- if not .Ends.IsZero}}, until <time>{{.Ends.Format "2006-01-02T15:04:05Z07:00"}}</time> at the latest{{end}}.</p>
<p>Coats: {{range .Coats}}{{.}}, {{else}}none{{end}}</p>
<form method="post" action="/coat">{{.CSRF}}<input name="coat" aria-label="Coat"><button>Hang up</button></form>
{{- if .User}}
<form method="post" action="/close">{{.CSRF}}<button>Give all coats away</button></form>
<form method="post" action="/logout">{{.CSRF}}<button>Sign out</button></form>
{{- else}}
<form method="post" action="/login">{{.CSRF}}
<label>Name <input name="user" value="alice" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label> (coat)
<button>Sign in</button></form>
{{- end}}
{{- if and .User .CSRF}}
<form method="post" action="/others">{{.CSRF}}<button>End my other sessions</button></form>
<form method="post" action="/confirm">{{.CSRF}}
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Confirm</button></form>
{{- end}}
</html>
`))

// Write writes the page.
func Write(w io.Writer, p Page) error { return layout.Execute(w, p) }
