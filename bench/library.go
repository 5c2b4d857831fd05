package main

import (
	"context"
	"encoding/gob"
	"errors"
	"net/http"
	"strings"
)

// library is one way to keep sessions, seen from an application. Every row runs
// the same handlers over each library; only what stands behind these methods
// differs. A method that changes something is called before the response begins.
type library interface {
	// name is how tables call it.
	name() string
	// wrap puts the library around the application's handler.
	wrap(http.Handler) http.Handler

	login(w http.ResponseWriter, r *http.Request, user string) error
	logout(w http.ResponseWriter, r *http.Request) error
	// formToken returns what a form has to send along, where the library asks
	// for that; otherwise it is empty.
	formToken(r *http.Request) (string, error)
	user(r *http.Request) string

	// The value of a kilobyte, as bytes and as a struct.
	bytes(r *http.Request) []byte
	setBytes(w http.ResponseWriter, r *http.Request, value []byte) error
	profile(r *http.Request) (profile, bool)
	setProfile(w http.ResponseWriter, r *http.Request, p profile) error

	// mark sets the value of a key of its own for each number, and marked
	// reports whether it is there.
	mark(w http.ResponseWriter, r *http.Request, number int) error
	marked(r *http.Request, number int) bool

	// onServer reports whether sessions live on the server, so that ending one
	// there is possible at all.
	onServer() bool
	close(ctx context.Context) error
}

// customer is who is signed in.
const customer = "customer-48213"

// profile is the struct of about a kilobyte: what a shop keeps of a customer at
// hand.
type profile struct {
	Name, Mail, Phone      string
	Street, Town, Postcode string
	Country, Language      string
	Currency, Theme        string
	Visits                 int
	Newsletter             bool
	Seen                   []string
	Note                   string
}

// sampleVisits is a number in it, to recognise it by.
const sampleVisits = 7

// sampleProfile encodes to 1 KB in JSON.
func sampleProfile() profile {
	return profile{
		Name: "Alice Example", Mail: "alice@example.org", Phone: "+44 20 7946 0958",
		Street: "221b Cloak Lane", Town: "London", Postcode: "EC4R 2TA", Country: "GB", Language: "en-GB",
		Currency: "GBP", Theme: "dark", Visits: sampleVisits, Newsletter: true,
		Seen: []string{
			"wool-coat-navy-m", "umbrella-black", "felt-hat-grey-58", "scarf-silk-red", "gloves-leather-8",
			"raincoat-yellow-m", "cap-tweed-57", "trench-coat-beige-s",
		},
		Note: strings.Repeat("leave it with the neighbour at number 223. ", 13),
	}
}

// sampleBytes are the two values of 1 KB between which a writing request
// changes: the same again would not have to be stored.
func sampleBytes() [2][]byte {
	return [2][]byte{[]byte(strings.Repeat("a", 1024)), []byte(strings.Repeat("b", 1024))}
}

// registerProfile makes the profile known to gob, which both peers use.
func registerProfile() { gob.Register(profile{}) }

// errAnswer says that a library has lost what it was given, so that its times
// mean nothing.
var errAnswer = errors.New("the session does not hold what was put into it")

// step is what a handler does with the session of its request.
type step func(lib library, w http.ResponseWriter, r *http.Request) error

// page is an application of one page.
func page(lib library, do step) http.Handler {
	body, kind := []byte("ok"), []string{"text/plain; charset=utf-8"}
	return lib.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := do(lib, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header()["Content-Type"] = kind
		_, _ = w.Write(body)
	}))
}

// readUser is the step of a page that asks who is there.
func readUser(lib library, _ http.ResponseWriter, r *http.Request) error {
	if lib.user(r) != customer {
		return errAnswer
	}
	return nil
}

// loginStep signs the customer in and stores what then is in the session.
func loginStep(fill step) step {
	return func(lib library, w http.ResponseWriter, r *http.Request) error {
		if err := lib.login(w, r, customer); err != nil {
			return err
		}
		return fill(lib, w, r)
	}
}

// fillBytes puts the value of a kilobyte into the session.
func fillBytes(lib library, w http.ResponseWriter, r *http.Request) error {
	return lib.setBytes(w, r, sampleBytes()[0])
}
