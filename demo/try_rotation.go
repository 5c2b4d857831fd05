package demo

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

func rotationRace() *attack {
	return &attack{
		Name:  "rotation",
		Title: "A change of tickets in a crowd",
		Brief: "Your ticket is replaced from time to time. Many tabs ask at that moment, and Mallory has kept the old one.",
		Thief: "The longer a ticket is used, the more copies there may be. So the shop replaces it every quarter of an hour. " +
			"That must not sign you out when all of your tabs ask at once; and if the old ticket is shown much later, somebody has a copy.",
		Elsewhere: "Libraries that replace tickets often take parallel requests for theft and sign people out, as Supabase and OpenAuth learned, " +
			"or do not replace them while a session lasts, as most others.",
		Defence: "Whoever shows the old ticket gets the same new one, until the new one has been in use for half a minute. " +
			"After that, two parties hold tickets of one session, and nobody can tell which of them is you: " +
			"the session ends, it is reported, and you sign in again.",
		Controls: []string{"rotate-periodic", "atomic-writes", "session-events"},
		Refused:  "All tabs went on with the same new ticket, and the old one gave the thief away.",
		Worked:   "Replacing tickets is not safe here.",
		run:      runRotationRace,
	}
}

// tabs is how many tabs ask at once.
const tabs = 10

func runRotationRace(r *run) {
	r.step("You sign in. Mallory copies your ticket.")
	you, mallory := r.browser("You"), r.thief()
	r.signIn(you)
	old := you.ticket()
	mallory.take(old)
	h := you.handle()

	r.step(fmt.Sprintf("The ticket has become old: the laboratory sets back the time at which it was issued. "+
		"All %d of your open tabs ask for your account at the same moment.", tabs))
	r.change(h, func(record *store.Record) { record.Rotated = record.Rotated.Add(-24 * time.Hour) })
	c := r.crowd(you)
	next := c.first
	r.breach("No tab is signed out", c.out > 0)
	r.breach("All tabs have got the same new ticket", c.different > 0)
	r.note("Both tickets begin alike: the first third finds the session and stays; the secret part has changed.")
	r.claim("The ticket was replaced", c.in == tabs && next != "" && next != old)

	r.step("The tabs go on with the new ticket. One of them has lost its answer on the way, and shows the old one once more.")
	you.take(next)
	r.claim("The new ticket works", r.opens(you.get("/account")))
	straggler := you.copy("A tab with a lost answer", shownWhole)
	straggler.take(old)
	r.claim("The tab that lost its answer is not signed out", r.opens(straggler.get("/account")))
	r.claim("It gets the same new ticket", straggler.ticket() == next)

	r.step("A minute later, Mallory shows the copy that he has kept. (The laboratory sets back the time at which the new ticket was first used.)")
	r.change(h, func(record *store.Record) {
		if record.Predecessor != nil && !record.Predecessor.Confirmed.IsZero() {
			record.Predecessor.Confirmed = record.Predecessor.Confirmed.Add(-lateBy)
		}
	})
	r.breach("The old ticket opens nothing any more", r.opens(mallory.get("/account")))
	r.expect(session.EventReuse)

	r.step("Somebody has had a copy, so the session has ended, for both of you. You sign in again; Mallory cannot.")
	r.breach("The session has ended", r.opens(you.get("/account")))
}

// crowd is what came of asking from many tabs at once.
type crowd struct {
	in, out   int    // how many came through, and how many were to sign in
	first     string // the new ticket of one of them
	different int    // how many have got another one
}

// crowd asks for the account from many tabs at once, all with the same ticket.
func (r *run) crowd(you *client) (c crowd) {
	clients, answers := make([]*client, tabs), make([]answer, tabs)
	ready := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		clients[i] = you.copy(fmt.Sprintf("Tab %d", i+1), shownBriefly)
		wg.Go(func() {
			<-ready
			answers[i] = clients[i].get("/account")
		})
	}
	close(ready)
	wg.Wait()
	for i, a := range answers {
		switch {
		case r.opens(a):
			c.in++
		case a.status == http.StatusSeeOther:
			c.out++
		}
		switch got := clients[i].ticket(); {
		case !a.set:
		case c.first == "":
			c.first = got
		case c.first != got:
			c.different++
		}
	}
	return c
}

// change changes the record of a session through the store's own contract. It
// takes no database for it, and forges nothing that would need a ticket: times of
// rotation are not sealed.
func (r *run) change(h session.Handle, change func(*store.Record)) {
	if r.over() {
		return
	}
	record, err := r.lab.store.Load(r.ctx, store.Key{Handle: h}, nil)
	if err == nil {
		change(&record)
		err = r.lab.store.Swap(r.ctx, record, r.shop.now())
	}
	if err != nil {
		r.fail(fmt.Errorf("setting back the time of a rotation: %w", err))
	}
}
