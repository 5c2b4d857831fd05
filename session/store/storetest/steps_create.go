package storetest

import (
	"fmt"
	"slices"
	"strings"

	"cloakroom.example/session/store"
)

// createStep creates a session; its record's namespace and handle are filled in
// when it runs.
type createStep struct {
	place
	c       store.Creation
	replace int    // handle to replace, or -1
	behind  uint64 // by how many versions the replacer is late
	knows   bool   // whether the replacer has seen lock and limit
}

func (createStep) op() Op { return OpCreate }

func (c createStep) String() string {
	r := &c.c.Record
	var out strings.Builder
	fmt.Fprintf(&out, "Create %v at %s: %v %q, idle %v (locks: %t), deadline %s, authenticated %s", c.place, since(c.c.Now), r.State, r.Subject,
		r.Idle, r.IdleLocks, since(r.Deadline), since(r.Assurance.At))
	for _, l := range r.Links {
		fmt.Fprintf(&out, ", link %d", slices.Index([]store.Link{linkOf(0), linkOf(1), linkOf(2)}, l))
	}
	for _, p := range r.Parts {
		fmt.Fprintf(&out, ", %s=%s", p.Name, p.Sealed)
	}
	if c.replace >= 0 {
		fmt.Fprintf(&out, ", replacing %d (%d behind, knows its lock: %t)", c.replace, c.behind, c.knows)
	}
	if c.c.Max > 0 {
		fmt.Fprintf(&out, ", max %d (evict: %t)", c.c.Max, c.c.EvictOldest)
	}
	return out.String() + ", since " + since(c.c.Since)
}

func (c createStep) creation(x *execution) store.Creation {
	c.c.Record.Namespace, c.c.Record.Handle = x.key(c.place).Namespace, x.key(c.place).Handle
	if c.replace >= 0 {
		old := x.key(place{c.ns, c.replace})
		c.c.Replace = &store.Replace{Handle: old.Handle, Version: x.version(old, c.behind)}
		if e := x.m.records[old]; e != nil && c.knows {
			c.c.Replace.Locked, c.c.Replace.Limit = e.Locked, e.Limit
		}
	}
	return c.c
}

func (c createStep) send(x *execution, s store.Store) error {
	_, err := s.Create(x.ctx, c.creation(x))
	return err
}

func (c createStep) run(x *execution) error {
	in := c.creation(x)
	created, err := x.s.Create(x.ctx, in)
	must, may := x.m.refusals(in)
	if len(must) > 0 {
		return wrong(err, append(must, may...)...)
	}
	if d := wrong(err, append(may, nil)...); d != nil || err != nil {
		return d
	}
	if d := x.m.evictable(in, created.Evicted); d != nil {
		return d
	}
	x.m.accept(in, created.Evicted)
	return nil
}

// evictable checks that as many as necessary were evicted, and those created
// first, whether by the clock or in fact.
func (m *model) evictable(c store.Creation, evicted []store.Handle) error {
	var gone, kept []*entry
	for _, e := range m.rivals(c) {
		if slices.Contains(evicted, e.Handle) {
			gone = append(gone, e)
		} else {
			kept = append(kept, e)
		}
	}
	n := m.surplus(c)
	if len(gone) != n || len(evicted) != n {
		return fmt.Errorf("evicted %s, want %d of the subject's", names(evicted), n)
	}
	byClock, inFact := true, true
	for _, g := range gone {
		for _, k := range kept {
			byClock = byClock && !k.Created.Before(g.Created)
			inFact = inFact && k.order > g.order
		}
	}
	if !byClock && !inFact {
		return fmt.Errorf("evicted %s, and kept one created before", names(evicted))
	}
	return nil
}
