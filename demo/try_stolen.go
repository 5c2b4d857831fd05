package demo

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

func stolenDatabase() *attack {
	return &attack{
		Name:  "stolen-database",
		Title: "A stolen database",
		Brief: "Mallory has a copy of the session database, and looks for something to sign in with.",
		Thief: "A backup left in a bucket, an SQL injection, a curious administrator: Mallory has the whole database. " +
			"If the tickets stand in it, everybody who is signed in is his.",
		Elsewhere: "Many keep the number that the cookie carries as the key of the row, and the data readable beside it: " +
			"Django, Spring Session, and scs unless HashTokenInStore is set. The stores of express-session do, too; " +
			"its cookies are signed besides, so that the thief needs that secret as well. Rack has hashed the number since CVE-2019-16782.",
		Defence: "The database holds hashes of the two parts of a ticket, which lead to no ticket. What you keep in the session is encrypted " +
			"under a key that is not there either: it is wrapped by your ticket, which only your browser has, and by a key of the shop. " +
			"Who you are and when you came can be read, because lists and searches need it.",
		Controls: []string{"hash-at-rest", "sealed-session-data"},
		Refused:  "There is nothing in these rows that opens a session, or the basket.",
		Worked:   "Who has the database has everybody’s session here.",
		Own:      true,
		run:      runStolenDatabase,
	}
}

func runStolenDatabase(r *run) {
	you := r.self()
	handle := r.handle
	if r.mine == "" {
		handle = you.handle()
		you.copy(you.who, notShown).post("/cart", "item", "hat")
	}
	loot := r.steal(handle)

	r.step("Is your ticket in there? He looks for it as text, as bytes and in hexadecimal, whole and in its two parts.")
	raw, _ := base64.RawURLEncoding.DecodeString(you.ticket())
	if len(raw) != 48 {
		r.unsure("there was no ticket to look for")
		return
	}
	found := loot.hold(raw) || loot.hold(raw[:16]) || loot.hold(raw[16:]) || loot.hold([]byte(you.ticket()))
	readable := loot.hold([]byte(`"item"`))
	r.note("%d bytes searched: %s, %s.", loot.size(), choose(found, "the ticket is there", "no ticket"),
		choose(readable, "and a basket in plain text", "and no basket in plain text either"))
	r.breach("The rows do not hold your ticket", found)
	r.breach("The rows do not show what is in your basket", readable)

	r.step("He shows what he found in place of a ticket.")
	mallory := r.thief()
	for _, v := range []variant{
		{"the handle, as it stands there", handle.String()},
		{"handle and verifier, put together in the form of a ticket", base64.RawURLEncoding.EncodeToString(append(handle[:], loot.verifier...))},
		{"the verifier in hexadecimal: it has the right length", hex.EncodeToString(loot.verifier)},
	} {
		mallory.present(v.ticket, v.made)
		r.breach("Refused: "+v.made, r.opens(mallory.get("/account")))
		r.expect(session.EventUnknownToken)
	}

	r.step("He tries to decrypt your basket, with what he has for a key.")
	if loot.sealed == nil {
		r.note("Your basket is empty, so that there is nothing to decrypt. Put something into it, and try again.")
	} else {
		err := unseal(loot.verifier, loot.sealed)
		r.note("AES-256-GCM with the verifier as the key says: %v.", err)
		r.breach("The verifier does not decrypt the basket", err == nil)
	}
	r.claim("Your own ticket still works", r.opens(you.copy(you.who, notShown).get("/account")))
}

// loot is what the thief has of one session.
type loot struct {
	rows     []tableRow
	verifier []byte
	sealed   []byte // the values, if there are any
}

// size returns how many bytes there are.
func (l loot) size() (n int) {
	for _, row := range l.rows {
		for _, c := range row.Cells {
			n += len(c.raw)
		}
	}
	return n
}

// hold reports whether any value contains the bytes, as such or in hexadecimal.
func (l loot) hold(b []byte) bool {
	asHex := []byte(hex.EncodeToString(b))
	for _, row := range l.rows {
		for _, c := range row.Cells {
			if bytes.Contains(c.raw, b) || bytes.Contains(bytes.ToLower(c.raw), asHex) {
				return true
			}
		}
	}
	return false
}

// steal takes what is stored of a session, and shows it.
func (r *run) steal(h session.Handle) (l loot) {
	defer func() { r.steps[len(r.steps)-1].Rows = l.rows }()
	if r.lab.database == nil {
		r.step(r.lab.elsewhere() + " This is what the session store holds of your session there.")
		record, err := r.lab.store.Load(r.ctx, store.Key{Handle: h}, []string{"app"})
		if err != nil {
			r.fail(fmt.Errorf("loading the record: %w", err))
			return loot{}
		}
		return inMemory(record)
	}
	r.step("This is what the database holds of your session, as Mallory sees it: your row of each table.")
	rows, err := r.lab.rows(r.ctx, h, r.identity.Subject)
	if err != nil {
		r.fail(err)
		return loot{}
	}
	// The format is public, so Mallory can read the blob as well.
	record, err := store.DecodeRecord(column(rows, "sessions", "head"))
	if err != nil {
		r.fail(fmt.Errorf("decoding column head: %w", err))
	}
	for i, row := range rows {
		if row.Table == "sessions" {
			rows[i].Cells = append(row.Cells, newCell("head → verifier", record.Verifier[:]), newCell("head → wrapped key", record.Wrap))
		}
	}
	return loot{rows, record.Verifier[:], column(rows, "session_parts", "sealed")}
}

// inMemory shows a record as if it were a row.
func inMemory(r store.Record) loot {
	row := tableRow{Table: "record", Cells: []cell{
		newCell("handle", r.Handle.String()),
		newCell("subject", r.Subject),
		newCell("role", r.Assurance.Role),
		newCell("created", r.Created.UnixNano()),
		newCell("seen", r.Seen.UnixNano()),
		newCell("verifier", r.Verifier[:]),
		newCell("wrapped key", r.Wrap),
	}}
	l := loot{rows: []tableRow{row}, verifier: r.Verifier[:]}
	for _, p := range r.Parts {
		l.sealed = p.Sealed
		l.rows = append(l.rows, tableRow{Table: "part", Cells: []cell{newCell("name", p.Name), newCell("sealed", p.Sealed)}})
	}
	return l
}

// unseal tries to decrypt what docs/format.md calls sealed: version, nonce,
// ciphertext and tag.
func unseal(key, sealed []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	if len(sealed) < 1+aead.NonceSize() {
		return fmt.Errorf("there are only %d bytes", len(sealed))
	}
	_, err = aead.Open(nil, sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():], nil)
	return err
}
