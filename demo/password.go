package demo

import (
	"fmt"
	"net/http"
	"unicode/utf8"

	"cloakroom.example/session"
)

// minPassword is how many characters a password has at least (NIST SP 800-63B-4).
const minPassword = 8

// passwordData is what the page to change the password shows.
type passwordData struct {
	Field       string // which field to look at: current, new or again
	Wrong       string // what is wrong with it
	MinPassword int
}

// passwordForm asks for a new password.
func (s *Shop) passwordForm(w http.ResponseWriter, r *http.Request) {
	s.showPassword(w, r, http.StatusOK, passwordData{})
}

func (s *Shop) showPassword(w http.ResponseWriter, r *http.Request, status int, data passwordData) {
	data.MinPassword = minPassword
	s.show(w, r, status, "account-password", page{Title: "Change your password", Data: data})
}

// changePassword replaces the password of who knows it, and ends all other
// sessions: whoever had the old one is out.
func (s *Shop) changePassword(w http.ResponseWriter, r *http.Request) {
	current, fresh := r.PostFormValue("current"), r.PostFormValue("new")
	if field, wrong := judge(current, fresh, r.PostFormValue("again")); wrong != "" {
		s.showPassword(w, r, http.StatusUnprocessableEntity, passwordData{Field: field, Wrong: wrong})
		return
	}
	subject := session.From(r.Context()).Subject()
	old, refused := s.prove(w, r, current)
	if refused != nil {
		s.showPassword(w, r, refused.status, passwordData{Field: "current", Wrong: refused.text})
		return
	}
	hash, err := s.accounts.hash(r.Context(), fresh)
	// The order: what can fail without consequences comes first. The password
	// changes before the others end, or somebody could sign in with the old
	// one in between; a login that is under way is refused by RevokeOthers.
	if err == nil {
		err = s.reauthenticate(r)
	}
	if err == nil && !s.accounts.replace(subject, old, hash) {
		err = fmt.Errorf("changing the password: %w", session.ErrConflict)
	}
	if err != nil {
		s.denied(w, r, err)
		return
	}
	s.log.note("password changed", subject, r)
	n, err := s.revokeOthers(r)
	if err != nil {
		s.problem(w, session.Status(err), "Your password is changed, but…",
			"Your new password counts from now on. We could not end your other sessions, though: "+
				"go to your account and end them there.")
		return
	}
	s.backToAccount(w, r, "Your password is changed. "+othersText(n), nil)
}

// judge says what is wrong with a new password, and in which field.
func judge(current, fresh, again string) (field, wrong string) {
	switch {
	case current == "":
		return "current", "Please type your current password."
	case utf8.RuneCountInString(fresh) < minPassword:
		return "new", fmt.Sprintf("A password has at least %d characters. This one has %d.", minPassword, utf8.RuneCountInString(fresh))
	case len(fresh) > maxPassword:
		return "new", fmt.Sprintf("That is too long: we can keep %d bytes, and this has %d.", maxPassword, len(fresh))
	case fresh == current:
		return "new", "That is the password you have already."
	case again != fresh:
		return "again", "This is not the same as the new password above."
	}
	return "", ""
}
