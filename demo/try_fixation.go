package demo

import (
	"crypto/rand"
	"encoding/base64"
)

func fixation() *attack {
	return &attack{
		Name:  "fixation",
		Title: "A planted ticket",
		Brief: "Mallory slips you a ticket that he knows, and waits for you to sign in with it.",
		Thief: "Mallory visits the shop and gets a ticket, as every visitor does who puts something into the basket. " +
			"He plants it in your browser: at a shared computer, or through another site on a neighbouring host name. " +
			"If signing in only writes your name on the ticket that is there, he holds a copy of a ticket with your name on it.",
		Elsewhere: "Many libraries leave it to the developer to ask for a new ticket at sign-in, and that line is forgotten again and again: " +
			"passport before 0.6 kept the session identifier at login (CVE-2022-25896), and fiber before 2.52.5 " +
			"accepted identifiers that the client had made up (CVE-2024-38513).",
		Defence: "Signing in always issues a new ticket and makes the old one void in the same step. There is no way to sign in without that. " +
			"And only tickets that the shop has issued are looked at.",
		Controls: []string{"rotate-at-login", "server-issued-only"},
		Refused:  "The planted ticket was void the moment you signed in, and a made-up one was never accepted.",
		Worked:   "Whoever plants a ticket here is signed in as you.",
		run:      runFixation,
	}
}

func runFixation(r *run) {
	r.step("Mallory visits the shop and puts a beret into the basket. For that he gets a ticket.")
	mallory := r.thief()
	mallory.post("/cart", "item", "beret")
	planted := mallory.ticket()
	if planted == "" {
		r.unsure("the shop gave Mallory no ticket to plant")
	}

	r.step("He plants it in your browser. Then you sign in. (The laboratory has a door of its own for that, so that it needs no password.)")
	you := r.browser("You")
	you.take(planted)
	r.signIn(you)
	r.claim("Signing in replaced the planted ticket", you.ticket() != planted)

	r.step("You are signed in. Mallory shows the ticket that he planted.")
	r.claim("You are signed in", r.opens(you.get("/account")))
	r.breach("The planted ticket opens nothing", r.opens(mallory.get("/account")))

	r.step("He tries again with a ticket that he has made up, of the right length and letters, which the shop has never issued.")
	invented := inventTicket()
	other := r.browser("You")
	other.present(invented, "made up by Mallory")
	r.signIn(other)
	r.expect("session_unknown_token")
	mallory.present(invented, "made up by Mallory")
	r.claim("The made-up ticket was not taken over", other.ticket() != invented)
	r.breach("The made-up ticket opens nothing", r.opens(mallory.get("/account")))
	r.expect("session_unknown_token")
}

// inventTicket returns something that looks like a ticket.
func inventTicket() string {
	var raw [48]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
