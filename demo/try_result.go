package demo

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Outcomes of an attack.
const (
	refused = "refused"
	worked  = "worked"
	unclear = "unclear"
)

// result is what a visitor gets to see of a run. It holds no token.
type result struct {
	Attack  *attack
	At      time.Time
	Outcome string
	Verdict string
	As      string // whose sessions it used
	Claims  []claim
	Steps   []*step
}

// Held counts the claims that held.
func (res *result) Held() (n int) {
	for _, c := range res.Claims {
		if c.Held {
			n++
		}
	}
	return n
}

// breached reports whether the thief has got what he wanted.
func (c claim) breached() bool { return c.decisive && !c.Held }

// undecided reports whether there can still be a verdict other than the one there
// is.
func (r *run) undecided() bool {
	return r.err == nil && r.doubt == "" && !slices.ContainsFunc(r.claims, claim.breached)
}

// result draws the conclusion from what came back.
func (r *run) result(a *attack) *result {
	out := &result{Attack: a, At: time.Now(), Claims: r.claims, Steps: r.steps, As: r.as(a)}
	switch {
	case slices.ContainsFunc(r.claims, claim.breached):
		out.Outcome, out.Verdict = worked, "It worked. "+a.Worked
	case errors.Is(r.err, context.DeadlineExceeded):
		out.Outcome, out.Verdict = unclear, "No verdict: the shop is so busy that this was given up after "+r.lab.patience.String()+"."
	case r.err != nil:
		out.Outcome, out.Verdict = unclear, "No verdict: something failed on the way, and nothing can be concluded from it."
	case r.doubt != "":
		out.Outcome, out.Verdict = unclear, "No verdict: "+r.doubt+"."
	case out.Held() < len(r.claims):
		out.Outcome, out.Verdict = unclear, "No verdict: the thief got nothing, but not everything went as it should."
	case len(r.claims) == 0:
		out.Outcome, out.Verdict = unclear, "No verdict: nothing was looked at."
	default:
		out.Outcome, out.Verdict = refused, "Refused. "+a.Refused
	}
	return out
}

// as says whose sessions the run has used.
func (r *run) as(a *attack) string {
	switch {
	case r.mine == "":
		return "You are not signed in, so this ran for a guest of the laboratory, " +
			"who has no password. The guest’s sessions have ended again."
	case a.Own:
		return "This ran against your own session, the one that shows you this page."
	}
	return "This ran against a second session of yours, made for it and ended again."
}
