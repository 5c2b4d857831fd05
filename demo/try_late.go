package demo

import (
	"net/http"
	"sync"

	"cloakroom.example/session"
)

func lateRequest() *attack {
	return &attack{
		Name:  "late-request",
		Title: "A request that comes too late",
		Brief: "A slow request is under way while you sign out, and saves the session afterwards.",
		Thief: "Mallory has your ticket, and starts something slow with it: a large upload, a report. While it runs, you sign out. " +
			"When it is done, it saves the session it had loaded at its beginning, and your session is back.",
		Elsewhere: "This is the most common real defect of session libraries. rack-session’s Pool had it (CVE-2025-46336); " +
			"scs 2.9, gorilla/sessions 1.4 with files, fiber 3.5 and express-session 1.19 still bring a session back that a slow request writes to. " +
			"Django’s database sessions and Spring’s JDBC sessions do not.",
		Defence: "A session is only ever saved if it is still there in the very version that was loaded. Ending it leaves a note, " +
			"and nothing writes over that note. The slow request is told that the session has ended.",
		Controls: []string{"atomic-writes", "logout-server-side"},
		Refused:  "You stayed signed out; what came late was dropped.",
		Worked:   "A request that was under way has undone the sign-out here.",
		run:      runLateRequest,
	}
}

func runLateRequest(r *run) {
	r.step("You sign in. Mallory has your ticket, and starts three slow requests with it: one that only reads, and two that write.")
	you, mallory := r.browser("You"), r.thief()
	r.signIn(you)
	mallory.take(you.ticket())
	mallory.open()
	answers := r.startSlowly(mallory)

	r.step("While all three are under way, you sign out.")
	you.post("/logout")
	r.expect(session.EventLogout)

	r.step("Now the slow requests finish. Their answers stand above, beside what was asked.")
	close(r.resume)
	all := answers()
	r.note("The one that only read got %s: it had begun while you were signed in. Those that wrote got %s and %s.",
		statusText(all[0].status), statusText(all[1].status), statusText(all[2].status))
	for i, what := range []string{"The late reader", "The first late writer", "The second late writer"} {
		r.breach(what+" gets no ticket", all[i].set)
	}
	r.breach("The first late writer is told that the session has ended", r.changes(all[1]))
	r.breach("The second late writer is told that the session has ended", r.changes(all[2]))

	r.step("Is the session back?")
	r.breach("The session stays ended", r.opens(mallory.get("/account")))
	late := you.copy("You", shownWhole)
	late.take(mallory.ticket())
	r.breach("For your own browser, too", r.opens(late.get("/account")))
}

// startSlowly starts three slow requests, and returns once all of them are under way.
// The function returned waits for their answers.
func (r *run) startSlowly(c *client) func() []answer {
	answers := make([]answer, 3)
	var wg sync.WaitGroup
	answered := make(chan struct{}, len(answers)) // too early
	same := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	for i, send := range []func(*client) answer{
		func(c *client) answer { return c.get("/lab/slow") },
		func(c *client) answer { return c.submit("/lab/slow", c.form, same, "way", "set") },
		func(c *client) answer { return c.submit("/lab/slow", c.form, same, "way", "update") },
	} {
		own := c.copy(c.who, shownWhole)
		wg.Go(func() {
			answers[i] = send(own)
			answered <- struct{}{}
		})
		select { // one after the other, for the order on the page
		case <-r.slowly:
		case <-answered:
		}
	}
	return func() []answer {
		wg.Wait()
		return answers
	}
}
