package demo

import (
	"context"
	"fmt"
	"net/http"

	"cloakroom.example/session"
)

func forgery() *attack {
	return &attack{
		Name:  "csrf",
		Title: "A forged form",
		Brief: "Another site makes your browser send a form to the shop, with your ticket.",
		Thief: "You are signed in, and open Mallory’s page. It holds a form that sends itself to the shop. " +
			"Your browser adds your ticket, because it always does. Mallory never sees the ticket; he does not have to.",
		Elsewhere: "Most session libraries leave this to another library, or to the developer. " +
			"The two have to fit together: in fiber, form tokens were once not bound to a session, so that Mallory could use one of his own " +
			"(CVE-2023-45128).",
		Defence: "The shop asks for two proofs: the browser says by itself which site a form came from, " +
			"and the form carries a token that belongs to your session. The cookie is SameSite=Lax besides, so that browsers do not " +
			"even send it along; here we let Mallory have it.",
		Controls: []string{"csrf-protect", "cookie-samesite"},
		Refused:  "No form that was not made for you by this shop was accepted.",
		Worked:   "Any page on the web can act in your name here.",
		Own:      true,
		run:      runForgery,
	}
}

func runForgery(r *run) {
	you := r.self()
	you.open()
	before, yours := you.holds("scarf"), you.form
	if r.over() {
		return
	}
	defer r.leaveBasket(you, yours, before)
	from := func(site string) http.Header {
		return http.Header{"Origin": {"https://mallory.example"}, "Sec-Fetch-Site": {site}}
	}
	item := []string{"item", "scarf"}
	trapped := you.copy("Your browser, on Mallory’s page", shownWhole)
	trapped.thief = true
	try := func(claim, token string, h http.Header) {
		r.breach(claim, r.changes(trapped.submit("/cart", token, h, item...)))
		r.expect(session.EventCSRF)
	}

	r.step("Mallory’s page sends the form. Your browser adds your ticket, and says where the form came from.")
	try("A form from another site is refused", "", from("cross-site"))

	r.step("Mallory has even got hold of one of your form tokens.")
	try("A form from another site with your own token is refused", yours, from("cross-site"))

	r.step("Your browser is an old one, and does not say where forms come from.")
	try("A form without a token is refused", "", nil)

	r.step("Mallory visits the shop himself, and puts a form token of his own session into his page.")
	mallory := r.thief()
	mallory.show = notShown
	mallory.post("/cart", "item", "beret") // for a session of his own
	mallory.open()
	try("A form with a token of another session is refused", mallory.form, nil)

	r.step("How many scarves are in your basket now?")
	after := you.holds("scarf")
	r.note("%s before, %s now.", scarves(before), scarves(after))
	r.breach("Nothing was put into your basket", after > before)
	takeBack(you, yours, after-before)

	r.step("And your own form, from the shop’s own page? It is the same request, with the right token.")
	r.claim("Your own form works", r.changes(you.submit("/cart", yours, http.Header{"Sec-Fetch-Site": {"same-origin"}}, item...)))
	takeBack(you, yours, you.holds("scarf")-before)
	r.claim("The laboratory has taken the scarf out of your basket again", you.holds("scarf") == before)
}

func scarves(n int) string {
	if n == 1 {
		return "1 scarf"
	}
	return fmt.Sprintf("%d scarves", n)
}

// leaveBasket takes out of the basket what a run has put there that ended before its
// time: because the visitor has hung up, or the shop was busy.
func (r *run) leaveBasket(you *client, token string, before int) {
	if !r.over() {
		return // it has done so, and shown it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), r.lab.patience/3)
	defer cancel()
	after := you.copy(you.who, notShown)
	after.run = &run{
		shop: r.shop, lab: r.lab, ctx: ctx, id: r.id, host: r.host, transport: r.transport, letters: make(map[string]int),
	}
	takeBack(after, token, after.holds("scarf")-before)
}

// takeBack takes scarves out of the basket again.
func takeBack(you *client, token string, many int) {
	quiet := you.copy(you.who, notShown)
	for range many {
		quiet.submit("/lab/take-back", token, http.Header{"Sec-Fetch-Site": {"same-origin"}}, "item", "scarf")
	}
}
