package main

import "net/http"

// readBytesRow reads, besides the subject, a sealed value of a kilobyte that is
// kept as it is.
func readBytesRow() row {
	return requestRow("read-bytes", "the same, and a sealed value of 1 KB, as bytes", []claim{
		{measure: "plus one sealed 1 KB value as []byte: session cost", goal: "≤ 1/6 of scs"},
	}, fillBytes, func(lib library, w http.ResponseWriter, r *http.Request) error {
		if len(lib.bytes(r)) != 1024 {
			return errAnswer
		}
		return readUser(lib, w, r)
	}, func(c costs) []outcome { return []outcome{c.timeOutcome(1.0 / 6)} })
}

// readProfileRow reads a struct instead: encoded as JSON by cloakroom, as gob by
// the peers.
func readProfileRow() row {
	return requestRow("read-struct", "the same, and a sealed struct of 1 KB", []claim{
		{measure: "plus one sealed 1 KB struct: session cost", goal: "≤ 1/2 of scs"},
	}, func(lib library, w http.ResponseWriter, r *http.Request) error {
		return lib.setProfile(w, r, sampleProfile())
	}, func(lib library, w http.ResponseWriter, r *http.Request) error {
		if p, ok := lib.profile(r); !ok || p.Visits != sampleVisits || len(p.Seen) == 0 {
			return errAnswer
		}
		return readUser(lib, w, r)
	}, func(c costs) []outcome { return []outcome{c.timeOutcome(1.0 / 2)} })
}
