package demo

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"unicode"

	"cloakroom.example/session"
)

func guessing() *attack {
	return &attack{
		Name:  "guessing",
		Title: "Guessing a ticket",
		Brief: "Mallory makes tickets up: by chance, and by changing yours a little.",
		Thief: "Mallory shows the shop one made-up ticket after the other. He also knows something: the first third of your ticket, " +
			"say, or the whole of it in another spelling, which he hopes will get past a list of stolen tickets.",
		Elsewhere: "Identifiers counted up, made of the time, or from a random generator that is not meant for secrets were guessed again and again; " +
			"today’s libraries use the right one. Rarer now: fiber went on without noticing when there was no randomness to be had (CVE-2025-66630).",
		Defence: "A ticket is 48 random bytes from the operating system, and no setting makes it shorter. " +
			"A third of it finds the session, two thirds prove it, and the proof is compared in a time that tells nothing. " +
			"Length and letters are checked before anything is looked up, and every ticket has exactly one spelling.",
		Controls: []string{"csprng-id", "id-input-hygiene", "server-issued-only"},
		Refused:  "No guess came near, and none ever will.",
		Worked:   "A ticket that the shop has never issued opens an account here.",
		Own:      true,
		run:      runGuessing,
	}
}

// guesses is how many random tickets are tried.
const guesses = 12

func runGuessing(r *run) {
	you := r.self()
	ticket := you.ticket()

	r.step(fmt.Sprintf("Mallory tries %d random tickets. Here is the first one.", guesses))
	mallory := r.thief()
	hits := 0
	for n := range guesses {
		mallory.present(inventTicket(), "a random guess")
		if r.opens(mallory.get("/account")) {
			hits++
		}
		if n == 0 {
			r.expect(session.EventUnknownToken)
			mallory.show = notShown
		}
	}
	r.note("%d of %d opened an account.", hits, guesses)
	r.breach(fmt.Sprintf("None of %d random tickets opens an account", guesses), hits > 0)

	r.step("He knows your ticket, but for a little. Each line is a request for your account.")
	mallory.show = shownBriefly
	nearly := variants(ticket)
	if len(nearly) == 0 {
		r.unsure("there was no ticket to change")
		return
	}
	for _, v := range nearly {
		mallory.present(v.ticket, v.made)
		r.breach("Refused: "+v.made, r.opens(mallory.get("/account")))
	}
	r.expect(session.EventUnknownToken)

	r.step("And your own ticket, as it is?")
	r.claim("Your own ticket still works", r.opens(you.get("/account")))
	for _, line := range odds(len(ticket)) {
		r.note("%s", line)
	}
}

// variant is something that is nearly a ticket.
type variant struct{ made, ticket string }

// variants returns what is nearly the given ticket.
func variants(ticket string) []variant {
	raw, err := base64.RawURLEncoding.DecodeString(ticket)
	if err != nil || len(raw) != 48 {
		return nil
	}
	last := ticket[len(ticket)-1:]
	_, _ = rand.Read(raw[16:]) // never fails; the first 16 bytes find the session
	all := []variant{
		{"your first third, and another secret", base64.RawURLEncoding.EncodeToString(raw)},
		{"yours, with its last character changed", ticket[:len(ticket)-1] + other(last)},
		{"yours, with its last character cut off", ticket[:len(ticket)-1]},
		{"yours, with one character more", ticket + "A"},
		{"yours, with = at its end", ticket + "="},
		{"yours, in quotes", `"` + ticket + `"`},
		{"yours, its first letter as %XX", fmt.Sprintf("%%%02X", ticket[0]) + ticket[1:]},
		{"yours, large letters for small ones", strings.Map(swapCase, ticket)},
		{"yours, twice", ticket + ticket},
		{"the first half of it", ticket[:len(ticket)/2]},
	}
	if std := strings.NewReplacer("-", "+", "_", "/").Replace(ticket); std != ticket {
		all = append(all, variant{"yours, with + and / for - and _", std})
	}
	return all
}

// other returns another letter.
func other(letter string) string {
	if letter == "A" {
		return "B"
	}
	return "A"
}

func swapCase(c rune) rune {
	if unicode.IsLower(c) {
		return unicode.ToUpper(c)
	}
	return unicode.ToLower(c)
}

// odds says in numbers what guessing comes to, for tickets of that many
// characters of 6 bits, of which a third is not secret.
func odds(characters int) []string {
	const (
		perSecond = 1e6
		sessions  = 1e6
		year      = 365.25 * 24 * 3600
		universe  = 1.4e10 // years
	)
	bits := 6 * characters
	years := func(bits int, targets float64) float64 { // as a power of ten
		return float64(bits)*math.Log10(2) - math.Log10(targets*perSecond*year)
	}
	any, mine := years(bits, sessions), years(bits*2/3, 1)
	return []string{
		fmt.Sprintf("The numbers: %d characters of 6 bits make %d random bits. With a million guesses a second, "+
			"and a million people signed in, it takes about 10%s years to hit any of them.", characters, bits, superscript(int(any))),
		fmt.Sprintf("Even who knows the first third of your ticket needs about 10%s years for the rest. "+
			"The universe is 10%s years old.", superscript(int(mine)), superscript(int(math.Log10(universe)))),
	}
}

// superscript writes a number as an exponent.
func superscript(n int) string {
	return strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹", "-", "⁻").
		Replace(fmt.Sprint(n))
}
