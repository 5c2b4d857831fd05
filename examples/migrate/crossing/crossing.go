// Package crossing is what the bridges from other session libraries have in
// common: when an old session is brought over, as what, and what becomes of its
// cookie. Copy it together with the bridge that you need, and remove both when
// the last old session has run out.
package crossing

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"cloakroom.example/session"
)

// Old is a session of the other library, ended there.
type Old struct {
	Subject string    // who was signed in; empty for a visitor
	Ends    time.Time // when it would have ended at the latest; zero if never
	// Move puts its values into the new session. It may be nil.
	Move func(*session.Session) error
}

// Crossing brings old sessions over. All fields must be set.
type Crossing struct {
	Sessions *session.Manager
	Limits   session.Limits // of Sessions: no session gets more, wherever it comes from
	Cookie   string         // the name of the old cookie
	Until    time.Time      // from then on nobody comes over any more
	// Take ends the old session that a cookie stands for, and returns it: to one
	// of all that ask for it, now or later, here or on another node. False means
	// that there is nothing to bring over.
	Take func(r *http.Request, cookie string) (Old, bool, error)
	// Clear makes the browser drop the old cookie.
	Clear func(http.ResponseWriter)
	Log   *slog.Logger
}

// Handler brings over who comes with an old cookie. It goes directly inside of
// [session.Manager.Handler], around everything that asks who is signed in.
func (c *Crossing) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie(c.Cookie); err == nil && c.due(r) {
			c.cross(w, r, cookie.Value)
		}
		next.ServeHTTP(w, r)
	})
}

// due reports whether this request is the one to bring the old session over.
func (c *Crossing) due(r *http.Request) bool {
	s := c.Sessions.From(r.Context())
	if s.Err() != nil {
		return false // the store does not answer: nothing must be ended that cannot begin
	}
	if s.Subject() != "" {
		return true // nothing comes over, but the old session must not wait for a logout
	}
	// Pages load many things at the same time, and one of them would get the new
	// session while the others find the old one gone. The page itself comes first.
	// Clients that do not say what they load are no browsers of today.
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode == "" || mode == "navigate"
}

// cross ends the old session in any case. If it did not, the old one would come
// back to life after a logout here.
func (c *Crossing) cross(w http.ResponseWriter, r *http.Request, cookie string) {
	old, found, err := c.Take(r, cookie)
	if err != nil {
		c.Log.Error("taking an old session", "error", err)
		return // nobody is signed in by it, and the next request tries again
	}
	c.Clear(w)
	s := c.Sessions.From(r.Context())
	if !found || s.Subject() != "" || !time.Now().Before(c.Until) {
		return
	}
	if old.Subject != "" {
		if err := c.login(r, old); err != nil {
			c.Log.Warn("bringing a session over", "subject", old.Subject, "error", err)
			return
		}
	}
	if old.Move == nil {
		return
	}
	if err := old.Move(s); err != nil {
		c.Log.Error("bringing values over", "subject", old.Subject, "error", err)
	}
}

// errOver says that an old session would have ended by now.
var errOver = errors.New("crossing: the old session is over")

// login signs the old session's user in, with what is left of its time.
func (c *Crossing) login(r *http.Request, old Old) error {
	left := c.Limits.Absolute
	if !old.Ends.IsZero() {
		left = min(left, time.Until(old.Ends))
	}
	if left < time.Second {
		return errOver
	}
	return c.Sessions.Login(r.Context(), session.Identity{
		Subject:  old.Subject,
		Absolute: left,
		Idle:     min(c.Limits.Idle, left),
		// Nobody has proved anything just now, and when he did, the old library
		// does not say. So it was long ago. That makes RequireFresh ask for the
		// password, and makes every revocation of the subject that there ever was
		// here refuse the login: somebody who has changed his password, or ended
		// his other sessions, has meant the old ones too.
		AuthenticatedAt: longAgo(),
		Began:           longAgo(),
	})
}

// longAgo is a time before every revocation. The zero time would mean now.
func longAgo() time.Time { return time.Unix(1, 0) }
