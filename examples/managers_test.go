package examples_test

import (
	"net/http"
	"testing"
)

// TestManagers: two managers in one program and one browser know nothing of each
// other.
func TestManagers(t *testing.T) {
	t.Parallel()
	p := start(t, "managers")
	const customer, staff = "__Host-id-customers", "__Host-id-staff"
	const here, gone = "<b>alice</b> is signed in", "Nobody is signed in"
	b := newBrowser(t, p)
	b.signIn("/", "/login", "alice", "coat")
	b.shows("/", here)
	b.shows("/staff/", gone)
	b.signIn("/staff/", "/staff/login", "alice", "coat")
	b.shows("/", here)
	b.shows("/staff/", here)

	crossed := b.twin()
	crossed.cookies[customer], crossed.cookies[staff] = b.cookies[staff], b.cookies[customer]
	crossed.shows("/", gone)
	crossed.shows("/staff/", gone)
	b.do("POST", "/staff/logout", values("csrf", b.token("/"))).want(t, "the shop's form token at the staff's", http.StatusForbidden)

	newBrowser(t, p).submit("/staff/", "/staff/login", "user", "bob", "password", "hat").
		want(t, "a customer who is no staff", http.StatusUnauthorized)

	thief := b.twin()
	b.submit("/staff/", "/staff/logout").want(t, "leaving the staff", http.StatusSeeOther)
	b.shows("/", here)
	b.shows("/staff/", gone)
	thief.shows("/staff/", gone)
	b.signIn("/staff/", "/staff/login", "alice", "coat")
	b.submit("/", "/logout").want(t, "leaving the shop", http.StatusSeeOther)
	b.shows("/", gone)
	b.shows("/staff/", here)

	// One place to work, any number of places to shop.
	second := newBrowser(t, p)
	second.signIn("/staff/", "/staff/login", "alice", "coat")
	b.shows("/staff/", gone)
	second.shows("/staff/", here)
	b.signIn("/", "/login", "alice", "coat")
	second.signIn("/", "/login", "alice", "coat")
	b.shows("/", here)
	second.shows("/", here)
}
