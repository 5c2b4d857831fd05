package main

import (
	"net/http"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"
)

// report is what somebody has lost.
type report struct {
	What  string
	Day   string // as the form sends it: 2026-01-31
	Email string
	Notes string
}

// reportFrom takes a report out of a form, whatever it holds.
func reportFrom(r *http.Request) report {
	return report{
		What:  strings.TrimSpace(r.PostFormValue("what")),
		Day:   strings.TrimSpace(r.PostFormValue("day")),
		Email: strings.TrimSpace(r.PostFormValue("email")),
		Notes: r.PostFormValue("notes"),
	}
}

// maxWhat is how long the name of a thing may be, in characters.
const maxWhat = 80

// check returns what is wrong, by the names of the fields.
func (p report) check() map[string]string {
	mistakes := make(map[string]string)
	switch {
	case p.What == "":
		mistakes["what"] = "Say what you have lost."
	case utf8.RuneCountInString(p.What) > maxWhat:
		mistakes["what"] = "Say it in 80 characters; there is room for more in the notes."
	}
	day, err := time.Parse(time.DateOnly, p.Day)
	switch {
	case err != nil:
		mistakes["day"] = "Choose the day on which you lost it."
	case day.After(time.Now().Add(24 * time.Hour)): // it may be tomorrow where our visitor is
		mistakes["day"] = "That day is still to come."
	}
	if _, err := mail.ParseAddress(p.Email); err != nil {
		mistakes["email"] = "Give an address that we can write to, such as alice@example.org."
	}
	return mistakes
}
