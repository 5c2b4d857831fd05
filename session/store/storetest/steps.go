package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session/store"
)

// since prints a time of the universe.
func since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%+v", t.Sub(at(0)))
}

// version is the one stored, or as many before it.
func (x *execution) version(k store.Key, behind uint64) uint64 {
	if e := x.m.records[k]; e != nil {
		return e.Version - behind
	}
	return 1
}

// swapStep changes the stored record, as somebody would who loaded it, or an
// earlier version.
type swapStep struct {
	place
	now    time.Duration
	behind uint64
	label  string
	lock   bool
	limit  time.Time
	seen   time.Duration
	parts  []store.Part
}

func (swapStep) op() Op { return OpSwap }

func (w swapStep) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Swap %v (%d behind) at %s: label %q, lock %t, limit %s, seen %s", w.place, w.behind, clock(w.now), w.label, w.lock, since(w.limit), clock(w.seen))
	for _, p := range w.parts {
		fmt.Fprintf(&out, ", %s=%s", p.Name, p.Sealed)
	}
	return out.String()
}

func (w swapStep) record(x *execution) store.Record {
	k := x.key(w.place)
	r := store.Record{Namespace: k.Namespace, Handle: k.Handle}
	if e := x.m.records[k]; e != nil {
		r = clone(e.Record)
	}
	r.Version, r.Label, r.Locked, r.Limit, r.Seen, r.Parts = x.version(k, w.behind), w.label, w.lock, w.limit, at(w.seen), w.parts
	r.Verifier, r.Last.Agent = digest(w.label, 0), w.label
	return r
}

func (w swapStep) send(x *execution, s store.Store) error {
	return s.Swap(x.ctx, w.record(x), at(w.now))
}

func (w swapStep) run(x *execution) error {
	r := w.record(x)
	err := x.s.Swap(x.ctx, r, at(w.now))
	if why := unchangeable(x.m.records[r.Key()], r.Version, at(w.now)); len(why) > 0 {
		return wrong(err, why...)
	}
	return wrong(err, x.m.Swap(x.ctx, r, at(w.now)))
}

// touchStep moves several sessions forward.
type touchStep struct {
	ns      int
	touches []store.Touch
}

func (touchStep) op() Op { return OpTouch }

func (t touchStep) String() string {
	out := fmt.Sprintf("Touch %c", 'a'+t.ns)
	for _, one := range t.touches {
		out += fmt.Sprintf(" %s at %s", names([]store.Handle{one.Handle}), since(one.Seen))
	}
	return out
}

func (t touchStep) send(x *execution, s store.Store) error {
	return s.Touch(x.ctx, x.namespace(t.ns), t.touches)
}

func (t touchStep) run(x *execution) error { return wrong(t.send(x, x.s), t.send(x, x.m)) }

// revokeStep revokes; the namespace is filled in when it runs.
type revokeStep struct {
	ns int
	v  store.Revocation
}

func (revokeStep) op() Op { return OpRevoke }

func (r revokeStep) String() string {
	v := &r.v
	target := "all"
	switch {
	case v.Subject != "":
		target = fmt.Sprintf("subject %q", v.Subject)
	case v.Link != store.Link{}:
		target = fmt.Sprintf("link %d", slices.Index([]store.Link{linkOf(0), linkOf(1), linkOf(2)}, v.Link))
	case !v.All:
		target = "handle " + names([]store.Handle{v.Handle})
	}
	out := fmt.Sprintf("Revoke %c %s at %s, cause %q", 'a'+r.ns, target, since(v.Now), v.Cause)
	if v.Effect != store.EffectEnd {
		out += fmt.Sprintf(", %s %s", []string{"", "lock", "shorten to"}[v.Effect], since(v.Limit))
	}
	if v.OnlyExpired {
		out += ", only expired"
	}
	if !v.Except.IsZero() {
		out += ", except " + names([]store.Handle{v.Except})
	}
	if !v.AuthenticatedBefore.IsZero() {
		out += ", authenticated before " + since(v.AuthenticatedBefore)
	}
	return out
}

func (r revokeStep) send(x *execution, s store.Store) error {
	r.v.Namespace = x.namespace(r.ns)
	_, err := s.Revoke(x.ctx, r.v)
	return err
}

func (r revokeStep) run(x *execution) error {
	r.v.Namespace = x.namespace(r.ns)
	got, err := x.s.Revoke(x.ctx, r.v)
	want, _ := x.m.Revoke(x.ctx, r.v)
	if err == nil && !sameHandles(got.Changed, want.Changed) {
		return fmt.Errorf("changed %s, want %s", names(got.Changed), names(want.Changed))
	}
	return wrong(err, nil)
}

// listStep lists all pages, and counts.
type listStep struct {
	ns      int
	subject string
	link    int // number of a link, or 0 for none
	state   store.State
	ended   bool
	now     time.Duration
	size    int
}

func (listStep) op() Op { return OpList }

func (l listStep) String() string {
	return fmt.Sprintf("List %c at %s: subject %q, link %d, state %v, ended %t, pages of %d", 'a'+l.ns, clock(l.now), l.subject, l.link, l.state, l.ended, l.size)
}

func (l listStep) send(x *execution, s store.Store) error {
	_, err := s.List(x.ctx, store.Query{Namespace: x.namespace(l.ns)})
	return err
}

func (l listStep) run(x *execution) error {
	q := store.Query{Namespace: x.namespace(l.ns), Subject: l.subject, State: l.state, Ended: l.ended, Now: at(l.now), Max: l.size}
	if l.link > 0 {
		q.Link = linkOf(uint64(l.link))
	}
	want := map[store.Handle]store.Record{}
	for _, r := range x.m.wanted(q) {
		want[r.Handle] = r
	}
	total := len(want)
	if c, ok := x.s.(store.Counter); ok {
		if n, err := c.Count(x.ctx, q); err != nil || n != total {
			return fmt.Errorf("%v: Count gave %d, error %v; want %d", l, n, err, total)
		}
	}
	for pages := 0; ; pages++ {
		page, err := x.s.List(x.ctx, q)
		if err != nil || len(page.Records) > l.size || pages > 1000 {
			return fmt.Errorf("%v: page %d has %d records, error %v", l, pages+1, len(page.Records), err)
		}
		for _, r := range page.Records {
			if d := diff(r, want[r.Handle]); d != "" {
				return fmt.Errorf("%v: listed record %s differs, or is listed twice:%s", l, names([]store.Handle{r.Handle}), d)
			}
			delete(want, r.Handle)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%v: %d of %d records are missing", l, len(want), total)
	}
	return nil
}
