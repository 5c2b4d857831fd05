package demo

import (
	"fmt"

	"cloakroom.example/session"
)

func tamperedRow() *attack {
	return &attack{
		Name:  "tampered-row",
		Title: "A tampered row",
		Brief: "Mallory can write to the session database, and makes himself somebody else.",
		Thief: "This time you are Mallory. You have an honest session of your own, and found a way to write to the database. " +
			"One UPDATE, and the row of your session says that you are an administrator. Then you come back with your ticket.",
		Elsewhere: "Nearly everywhere, the row is believed: who can write to the session table is whoever he likes. " +
			"That is not counted as a defect there; the database simply has to be safe.",
		Defence: "Who you are, in what role, since when and until when is sealed with your ticket and with a key of the shop that is not in the database. " +
			"When a row comes back that says something else, the seal does not open, and there is no session. " +
			"(What can be done by UPDATE is to lock or end a session, because that hurts nobody but its owner.)",
		Controls: []string{"sealed-session-data", "validate-every-request"},
		Refused:  "No edited row was believed; set right again, it worked as before.",
		Worked:   "Who can write to the database is whoever he likes here.",
		Database: true,
		run:      runTamperedRow,
	}
}

func runTamperedRow(r *run) {
	r.step("You sign in, as yourself.")
	you := r.browser("You, as Mallory")
	you.thief = true
	r.signIn(you)
	ticket, h := you.ticket(), you.handle()
	r.claim("Your session works", r.opens(you.get("/account")))

	somebody := "root"
	if r.identity.Subject == somebody {
		somebody = "alice"
	}
	ever := r.shop.now().AddDate(10, 0, 0).UnixNano()
	for _, f := range []forged{
		{"role", "admin", "You make yourself an administrator.", "The role that was written in is not believed"},
		{"subject", somebody, "You make yourself " + somebody + ".", "The name that was written in is not believed"},
		{"deadline", ever, "You make your session last for ten years.", "The end that was written in is not believed"},
	} {
		you.take(ticket)
		r.tamper(you, h, f)
	}

	r.step("The laboratory has set the row right again. You come back once more, with the same ticket.")
	you.take(ticket)
	r.claim("The row as it was still works", r.opens(you.get("/account")))
}

// forged is a change of one column, and what is said about it.
type forged struct {
	column       string
	value        any
	words, claim string
}

// tamper shows the shop a ticket whose row was edited, and sets the row right
// again, whatever happens.
func (r *run) tamper(you *client, h session.Handle, f forged) {
	if r.over() {
		return
	}
	before, err := r.lab.value(r.ctx, h, f.column)
	if err != nil {
		r.fail(fmt.Errorf("reading a row: %w", err))
		return
	}
	if before == f.value {
		// An administrator is one already; then he takes another's role away.
		f.value = "owner"
	}
	r.step(f.words)
	r.edit(r.ctx, h, f.column+" = ?", f.value)
	defer r.setRight(h, f.column, before)
	r.sql("UPDATE sessions\n   SET %s = '%v'\n WHERE handle = '%s'", f.column, f.value, h)
	r.breach(f.claim, r.opens(you.get("/account")))
	r.expect(session.EventUnreadable)
}
