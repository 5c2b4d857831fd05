package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"cloakroom.example/session"
)

// enrolment is a second factor that is not switched on yet.
var enrolment = session.NewKey[enrolmentV1]("enrolment")

// enrolmentV1 is stored in sessions, sealed: fields may be added, not changed.
type enrolmentV1 struct {
	Secret string    `json:"secret"`
	URL    string    `json:"url"` // what the app reads from the QR code
	At     time.Time `json:"at"`
}

// enrolmentLife is how long somebody may take to set up an app.
const enrolmentLife = 30 * time.Minute

// enrolData is what the page to set up a second factor shows.
type enrolData struct {
	On     bool // it is there already
	Secret string
	QR     qrCode
	Wrong  string
}

// enrolForm shows a secret, for the app to read. It stays the same when the page
// is shown again, and in other tabs.
func (s *Shop) enrolForm(w http.ResponseWriter, r *http.Request) {
	s.showEnrol(w, r, http.StatusOK, "")
}

func (s *Shop) showEnrol(w http.ResponseWriter, r *http.Request, status int, wrong string) {
	current := session.From(r.Context())
	data := enrolData{On: s.accounts.hasFactor(current.Subject()), Wrong: wrong}
	if !data.On {
		var begun enrolmentV1
		err := enrolment.Update(r.Context(), current, func(e *enrolmentV1) (err error) {
			if s.now().Sub(e.At) > enrolmentLife {
				*e, err = newEnrolment(current.Subject(), s.now())
			}
			begun = *e
			return err
		})
		if err == nil {
			data.Secret = grouped(begun.Secret)
			data.QR, err = newQRCode(begun.URL)
		}
		if err != nil {
			s.denied(w, r, err)
			return
		}
	}
	s.show(w, r, status, "account-factor", page{Title: "Second factor", Data: data})
}

func newEnrolment(subject string, now time.Time) (enrolmentV1, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Cloakroom demo", AccountName: subject})
	if err != nil {
		return enrolmentV1{}, fmt.Errorf("making a secret: %w", err)
	}
	return enrolmentV1{Secret: key.Secret(), URL: key.URL(), At: now}, nil
}

// grouped writes a secret so that it can be typed.
func grouped(secret string) string {
	var groups []string
	for group := range slices.Chunk([]byte(secret), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}

// enrol switches the second factor on, when a code shows that the app has the
// secret. This session has shown it by that.
func (s *Shop) enrol(w http.ResponseWriter, r *http.Request) {
	current := session.From(r.Context())
	begun, ok, err := enrolment.Lookup(current)
	if err != nil {
		s.denied(w, r, err)
		return
	}
	if !ok || s.accounts.hasFactor(current.Subject()) {
		http.Redirect(w, r, "/account/second-factor", http.StatusSeeOther)
		return
	}
	if s.now().Sub(begun.At) > enrolmentLife {
		s.showEnrol(w, r, http.StatusForbidden, "That took too long. Here is a new secret: show it to your app first.")
		return
	}
	subject, code := current.Subject(), typedCode(r.PostFormValue("code"))
	step, right := stepOf(begun.Secret, code, s.now())
	if !right {
		s.showEnrol(w, r, http.StatusForbidden, "That is not the code. Look for the one that your app shows now; the secret has stayed the same.")
		return
	}
	// Raised first: a factor that is on, and a session that has not shown it,
	// would be worse to be left with than the reverse.
	err = s.raise(r)
	if err == nil {
		err = enrolment.Delete(current)
	}
	if err == nil {
		id, ok := s.accounts.addFactor(subject, begun.Secret, step)
		if !ok {
			s.denied(w, r, fmt.Errorf("switching on the second factor: %w", session.ErrConflict))
			return
		}
		s.log.note("second factor on", subject, r)
		err = shownFactor.Set(current, id)
	}
	s.backToAccount(w, r, "Your second factor is on. From now on, signing in takes a code, too.", err)
}

// dropFactor switches the second factor off.
func (s *Shop) dropFactor(w http.ResponseWriter, r *http.Request) {
	subject := session.From(r.Context()).Subject()
	s.accounts.dropFactor(subject)
	s.log.note("second factor off", subject, r)
	s.backToAccount(w, r, "Your second factor is off. Your password alone signs you in.", nil)
}
