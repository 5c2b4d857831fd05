package demo

import (
	"context"
	"fmt"
	"net/http"

	"cloakroom.example/session"
)

// handler is the shop as the run's own server shows it: the same chain, sessions
// and pages, and beside them the laboratory's rooms, which the shop's own server
// does not have.
func (r *run) handler() http.Handler {
	rooms := http.NewServeMux()
	rooms.HandleFunc("POST /lab/sign-in", r.letIn)
	rooms.HandleFunc("GET /lab/slow", r.readSlowly)
	rooms.HandleFunc("POST /lab/slow", r.writeSlowly)
	rooms.HandleFunc("GET /lab/handle", r.tellHandle)
	rooms.HandleFunc("GET /lab/basket/{item}", r.countBasket)
	rooms.HandleFunc("POST /lab/take-back", r.takeBack)
	rooms.HandleFunc("/", r.shop.route)
	h := r.shop.chain(r.noting(rooms))
	if r.lab.front != nil {
		h = r.lab.front(h)
	}
	return r.counting(h)
}

// counting lets clearUp wait for requests under way.
func (r *run) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.door.RLock()
		defer r.door.RUnlock()
		if r.shut {
			http.Error(w, "The laboratory has closed.", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// noting notes which sessions the run meets, so that none of them stays.
func (r *run) noting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		current := session.From(req.Context())
		before := current.Handle()
		next.ServeHTTP(w, req)
		after := current.Handle()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.made[before], r.made[after] = true, true
	})
}

// clearUp ends the sessions that the run has caused, the visitor's own excepted.
func (r *run) clearUp(ctx context.Context) {
	r.door.Lock()
	r.shut = true
	r.door.Unlock()
	ctx = context.WithoutCancel(ctx)
	for h := range r.made {
		if h == r.handle {
			continue
		}
		if _, err := r.shop.sessions.Revoke(ctx, h, "tried out"); err != nil {
			r.lab.logger.Error("demo: clearing up after an attack", "session", h.String(), "error", err)
		}
	}
}

// letIn signs in without a password: there must be further sessions of a
// visitor whose password nobody has.
func (r *run) letIn(w http.ResponseWriter, req *http.Request) {
	if err := r.shop.sessions.Login(req.Context(), r.identity); err != nil {
		r.shop.denied(w, req, err)
		return
	}
	http.Redirect(w, req, "/account", http.StatusSeeOther)
}

// readSlowly answers once the run says so, with what it has read at first.
func (r *run) readSlowly(w http.ResponseWriter, req *http.Request) {
	n := pieces(session.From(req.Context()))
	if r.wait(req) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, n)
	}
}

// writeSlowly puts something into the basket, having thought about it until the
// run says so. Of the field way, "set" writes with the response, and "update" at
// once.
func (r *run) writeSlowly(w http.ResponseWriter, req *http.Request) {
	way := req.PostFormValue("way")
	current := session.From(req.Context())
	b, _ := basket.Get(current) // as it was before the long wait
	if !r.wait(req) {
		return
	}
	err := b.add("umbrella")
	if err == nil && way == "set" {
		err = basket.Set(current, b)
	} else if err == nil {
		err = basket.Update(req.Context(), current, func(b *basketV1) error { return b.add("umbrella") })
	}
	if err != nil {
		r.shop.denied(w, req, err)
		return
	}
	http.Redirect(w, req, "/", http.StatusSeeOther)
}

// wait holds a request up until the run says otherwise, and reports whether
// somebody still wants its answer.
func (r *run) wait(req *http.Request) bool {
	r.slowly <- struct{}{} // has room for all
	select {
	case <-r.resume:
		return true
	case <-req.Context().Done():
		return false
	}
}

// tellHandle says which session it is.
func (r *run) tellHandle(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, session.From(req.Context()).Handle())
}

// countBasket says how many of one thing are in the basket.
func (r *run) countBasket(w http.ResponseWriter, req *http.Request) {
	b, _ := basket.Get(session.From(req.Context()))
	many := 0
	for _, line := range b.Lines {
		if line.Item == req.PathValue("item") {
			many = line.Many
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, many)
}

// takeBack undoes what adding one piece to the basket has done.
func (r *run) takeBack(w http.ResponseWriter, req *http.Request) {
	current := session.From(req.Context())
	err := basket.Update(req.Context(), current, func(b *basketV1) error {
		b.remove(req.PostFormValue("item"))
		return nil
	})
	if err != nil {
		r.shop.denied(w, req, err)
		return
	}
	if err := notice.Delete(current); err != nil {
		r.shop.denied(w, req, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// remove takes one of the item out of the basket.
func (b *basketV1) remove(item string) {
	for i := range b.Lines {
		if b.Lines[i].Item != item {
			continue
		}
		if b.Lines[i].Many--; b.Lines[i].Many < 1 {
			b.Lines = append(b.Lines[:i], b.Lines[i+1:]...)
		}
		return
	}
}
