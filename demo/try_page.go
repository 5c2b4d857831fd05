package demo

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"cloakroom.example/session"
)

// tryData is what the overview shows.
type tryData struct {
	Attacks []tryLine
	Guest   bool // nobody is signed in
	Ran     int  // how many have a result …
	Refused int  // … and were refused
}

// tryLine is one attack of the overview.
type tryLine struct {
	*attack
	Result *result // nil if it has not run lately
	Closed string  // why it cannot be run here, if so
}

// attackData is what the page of one attack shows.
type attackData struct {
	tryLine
	Guest    bool
	Previous *attack
	Next     *attack
}

// routeTry adds the attacks.
func (s *Shop) routeTry() {
	s.routes.HandleFunc("GET /try", s.tryAll)
	s.routes.HandleFunc("POST /try", s.runAll)
	s.routes.HandleFunc("GET /try/{attack}", s.tryOne)
	s.routes.HandleFunc("POST /try/{attack}", s.runOne)
}

// tryAll lists the attacks.
func (s *Shop) tryAll(w http.ResponseWriter, r *http.Request) {
	data := tryData{Guest: session.From(r.Context()).Subject() == ""}
	for _, a := range s.lab.attacks {
		line := s.lineOf(r, a)
		data.Attacks = append(data.Attacks, line)
		if line.Result != nil {
			data.Ran++
			if line.Result.Outcome == refused {
				data.Refused++
			}
		}
	}
	s.show(w, r, http.StatusOK, "try", page{Title: "Try to break in", Data: data})
}

// tryOne explains one attack, and shows what came of it.
func (s *Shop) tryOne(w http.ResponseWriter, r *http.Request) {
	i := s.lab.find(r.PathValue("attack"))
	if i < 0 {
		s.missing(w, r, http.StatusNotFound)
		return
	}
	all := s.lab.attacks
	data := attackData{tryLine: s.lineOf(r, all[i]), Guest: session.From(r.Context()).Subject() == ""}
	if i > 0 {
		data.Previous = all[i-1]
	}
	if i+1 < len(all) {
		data.Next = all[i+1]
	}
	s.show(w, r, http.StatusOK, "try-attack", page{Title: all[i].Title, Data: data})
}

// runOne runs one attack.
func (s *Shop) runOne(w http.ResponseWriter, r *http.Request) {
	i := s.lab.find(r.PathValue("attack"))
	if i < 0 {
		s.missing(w, r, http.StatusNotFound)
		return
	}
	s.runThem(w, r, s.lab.attacks[i:i+1], r.URL.Path)
}

// runAll runs all of them, one after the other.
func (s *Shop) runAll(w http.ResponseWriter, r *http.Request) { s.runThem(w, r, s.lab.attacks, "/try") }

// runThem runs attacks, keeps their results, and sends the visitor to see them:
// showing the page again does not run anything again.
func (s *Shop) runThem(w http.ResponseWriter, r *http.Request, all []*attack, then string) {
	who := ownerOf(r)
	leave, wait := s.lab.enter(r, who, len(all))
	if leave == nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		s.problem(w, http.StatusTooManyRequests, "One after the other",
			"Another attack of yours is still running, or there were many of them. Please try again in "+
				count(int(wait/time.Second), "second")+".")
		return
	}
	defer leave()
	// Less than a server gives to an answer, however many they are.
	ctx, cancel := context.WithTimeout(r.Context(), 2*s.lab.patience)
	defer cancel()
	for _, a := range all {
		if s.lab.closed(a) != "" {
			continue
		}
		if res := s.lab.try(r.WithContext(ctx), a); r.Context().Err() == nil {
			s.lab.keep(who, res)
		}
	}
	http.Redirect(w, r, then, http.StatusSeeOther)
}

func (s *Shop) lineOf(r *http.Request, a *attack) tryLine {
	return tryLine{attack: a, Result: s.lab.kept(ownerOf(r), a), Closed: s.lab.closed(a)}
}
