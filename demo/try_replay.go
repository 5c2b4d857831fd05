package demo

import "cloakroom.example/session"

func replay() *attack {
	return &attack{
		Name:  "replay",
		Title: "A copy kept after sign-out",
		Brief: "Mallory has copied your ticket. You sign out. He shows his copy.",
		Thief: "Mallory got hold of your ticket: malware, a proxy that logs too much, a browser left open. " +
			"While you are signed in his copy is as good as yours; no session library can tell the two apart. So you sign out.",
		Elsewhere: "Where the session is kept in the cookie itself, as in Rails, Flask and gorilla’s CookieStore by default, " +
			"signing out deletes the cookie in your browser and nothing else: a copy works until it expires. " +
			"Libraries that keep sessions on the server end them there; then it is right.",
		Defence: "Signing out ends the session on the server, for every copy of the ticket, before the answer is sent. " +
			"What remains is a note that the ticket is void, so that showing it later is noticed. " +
			"(For half a minute it is refused without a report, because honest requests may still be on their way.)",
		Controls: []string{"logout-server-side", "logout-client-cleanup", "session-events"},
		Refused:  "Mallory’s copy died with your session.",
		Worked:   "Signing out only looks like signing out here: a copied ticket still opens your account.",
		run:      runReplay,
	}
}

func runReplay(r *run) {
	r.step("You sign in. Mallory has copied your ticket, and it works: as long as you are signed in, a copy is as good as the original.")
	you, mallory := r.browser("You"), r.thief()
	r.signIn(you)
	handle := you.handle()
	mallory.take(you.ticket())
	if !r.opens(mallory.get("/account")) {
		r.unsure("the copy did not work in the first place")
	}

	r.step("You sign out.")
	you.post("/logout")
	r.expect(session.EventLogout)
	r.claim("Your browser has given the ticket away", you.ticket() == "")

	r.step("Mallory shows his copy again: to see your account, and to put something into your basket.")
	r.breach("The copy does not open the account", r.opens(mallory.get("/account")))
	// He keeps the form token he had.
	r.breach("The copy does not change the basket", r.changes(mallory.post("/cart", "item", "boots")))

	if r.lab.database == nil {
		return
	}
	r.step("He tries once more, a minute later. (The laboratory sets back the time in the note that is left of the session.)")
	r.age(handle)
	r.breach("The copy does not open the account", r.opens(mallory.get("/account")))
	r.expect(session.EventUseAfterExpire)
}

// changes reports whether the shop has done what a form asked for.
func (r *run) changes(a answer) bool {
	switch a.status {
	case 303:
		return true
	case 401, 403:
	default:
		r.unsure("a form was answered %s, which says nothing about whether it was accepted", statusText(a.status))
	}
	return false
}
