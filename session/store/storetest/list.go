package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// listCases prove what I5 rests on when people look before they revoke: a list
// shows every session, once.
func listCases() []Case {
	return group("I5",
		named{"list_filters", listFilters},
		named{"list_pages", listPages},
		named{"list_default_page", listDefault},
		named{"list_refuses_other_cursors", listCursors},
		named{"list_while_sessions_come_and_go", listChurn},
	)
}

// list returns all pages of a list, at at(1 minute) if q.Now is not set, and
// checks that Count agrees.
func (w *world) list(q store.Query) []store.Record {
	w.Helper()
	if q.Namespace == "" {
		q.Namespace = w.ns
	}
	if q.Now.IsZero() {
		q.Now = at(time.Minute)
	}
	all, err := pages(w, w.other(), q)
	if err != nil {
		w.Fatalf("List: %v", err)
	}
	if c, ok := w.s().(store.Counter); ok {
		if n, err := c.Count(w.Context(), q); err != nil || n != len(all) {
			w.Errorf("Count(%+v): got %d, error %v; List has %d", q, n, err, len(all))
		}
	}
	return all
}

func pages(w *world, s store.Store, q store.Query) (all []store.Record, err error) {
	w.Helper()
	for range 500 {
		page, err := s.List(w.Context(), q)
		if err != nil {
			return all, err
		}
		if len(page.Records) > q.PageSize() {
			w.Errorf("List gave %d records on a page, want at most %d", len(page.Records), q.PageSize())
		}
		all = append(all, page.Records...)
		if page.Next == "" {
			return all, nil
		}
		q.Cursor = page.Next
	}
	return all, errors.New("the list does not end")
}

// wantList checks a list against the records that q wants of those given.
func (w *world) wantList(what string, q store.Query, of []store.Record) {
	w.Helper()
	if q.Namespace == "" {
		q.Namespace = w.ns
	}
	if q.Now.IsZero() {
		q.Now = at(time.Minute)
	}
	var want []store.Record
	for _, r := range of {
		if q.Wants(&r) {
			want = append(want, r)
		}
	}
	got := w.list(q)
	if !sameHandles(handles(got), handles(want)) {
		w.Errorf("%s: List gave %d records %v, want %d %v", what, len(got), handles(got), len(want), handles(want))
		return
	}
	for _, r := range got {
		i := slices.IndexFunc(want, func(s store.Record) bool { return s.Handle == r.Handle })
		if d := diff(r, without(want[i])); d != "" {
			w.Errorf("%s: listed record differs:%s", what, d)
		}
	}
}

func listFilters(w *world) {
	hers, others := w.household()
	all := append(hers, others...)
	expired := w.create("alice", linked(99), func(r *store.Record) { r.Idle = time.Second })
	w.revoke(store.Revocation{Handle: all[0].Handle})
	w.revoke(store.Revocation{Handle: all[7].Handle, Effect: store.EffectShorten, Limit: at(time.Second)})
	all[0].Finish(store.End{At: at(time.Minute), Cause: "admin", By: "root"})
	all[7].Limit = at(time.Second)
	all = append(all, expired)
	for _, q := range []store.Query{
		{}, {Subject: "alice"}, {Subject: "alic"}, {Subject: "nobody"}, {Link: linkOf(99)}, {Link: linkOf(0)}, {Link: linkOf(1000)},
		{Subject: "alice", Link: linkOf(3)}, {Subject: "bob", Link: linkOf(99)},
		{State: store.Anonymous}, {State: store.Pending}, {State: store.Active, Subject: "alice"}, {State: store.Active, Link: linkOf(99)},
		{Now: at(0)}, {Now: at(40 * time.Minute)}, {Now: at(13 * time.Hour)}, {Namespace: "other"},
	} {
		for _, q.Ended = range []bool{false, true} {
			for _, q.Max = range []int{0, 1, 3} {
				w.wantList(fmt.Sprintf("%+v", q), q, all)
			}
		}
	}
}

func listPages(w *world) {
	var all []store.Record
	for range 23 {
		all = append(all, w.create("alice", linked(1)))
	}
	for _, size := range []int{1, 2, 5, 22, 23, 24, 1000} {
		for _, q := range []store.Query{{}, {Subject: "alice"}, {Link: linkOf(1)}} {
			q.Max = size
			w.wantList(fmt.Sprintf("pages of %d", size), q, all)
		}
	}
}

func listDefault(w *world) {
	var all []store.Record
	for range 105 {
		all = append(all, w.create("alice"))
	}
	w.wantList("pages of the default size", store.Query{}, all)
}

func listCursors(w *world) {
	for range 5 {
		w.create("alice", linked(1))
	}
	for _, cursor := range []string{"x", "0", "0.0", "-1", "AAAA", "\x00", "'; --", "9999999999999999999999", "{}", " "} {
		page, err := w.s().List(w.Context(), store.Query{Namespace: w.ns, Now: at(0), Cursor: cursor})
		if err == nil {
			w.Errorf("List with cursor %q gave %d records, want an error", cursor, len(page.Records))
		} else if errors.Is(err, store.ErrUnavailable) {
			w.Errorf("List with cursor %q: got %v, want an error that is not about availability: callers would try again", cursor, err)
		}
	}
	page, err := w.s().List(w.Context(), store.Query{Namespace: w.ns, Now: at(0), Max: 2})
	if err != nil || page.Next == "" {
		w.Fatalf("List: next %q, error %v", page.Next, err)
	}
	elsewhere, err := w.s().List(w.Context(), store.Query{Namespace: "other", Now: at(0), Cursor: page.Next})
	if err == nil && len(elsewhere.Records) != 0 {
		w.Errorf("a cursor of one namespace lists %d of its sessions in another", len(elsewhere.Records))
	}
}

// listChurn lists with small pages while neighbours appear and end.
func listChurn(w *world) {
	var stay []store.Record
	for range 20 {
		stay = append(stay, w.create("alice", linked(1)))
	}
	w.rounds(func() {
		var done atomic.Bool
		churn := func(s store.Store) {
			for i := 0; i < 400 && !done.Load(); i++ {
				r := w.session("alice", linked(1))
				if _, err := s.Create(w.Context(), creation(r)); err != nil {
					w.Errorf("Create: %v", err)
				}
				if _, err := s.Revoke(w.Context(), w.revocation(store.Revocation{Handle: r.Handle})); err != nil {
					w.Errorf("Revoke: %v", err)
				}
			}
		}
		w.together(churn, churn, func(s store.Store) {
			defer done.Store(true)
			for _, q := range []store.Query{{}, {Subject: "alice"}, {Link: linkOf(1)}} {
				q.Namespace, q.Now, q.Max = w.ns, at(time.Minute), 3
				got, err := pages(w, s, q)
				if err != nil {
					w.Errorf("List: %v", err)
				}
				seen := map[store.Handle]int{}
				for _, r := range got {
					seen[r.Handle]++
				}
				for _, r := range stay {
					if seen[r.Handle] != 1 {
						w.Errorf("a session alive throughout is listed %d times, want once", seen[r.Handle])
					}
				}
			}
		})
	})
}
