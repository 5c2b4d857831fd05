package main

import (
	"net/netip"
	"strings"
	"time"

	"cloakroom.example/plain"
	"cloakroom.example/session/store"
)

// line is a session as it is printed: by its fields in a table, by its tags as
// JSON. What came from the network is only made legible in the table.
type line struct {
	Handle        string     `json:"handle"`
	Namespace     string     `json:"namespace,omitempty"`
	User          string     `json:"user,omitempty"`
	State         string     `json:"state"`
	CreatedAs     string     `json:"created_as"`
	Created       time.Time  `json:"created"`
	Seen          time.Time  `json:"seen"`
	Expires       *time.Time `json:"expires,omitempty"`
	Deadline      *time.Time `json:"deadline,omitempty"`
	Authenticated *time.Time `json:"authenticated,omitempty"`
	Methods       []string   `json:"methods,omitempty"`
	Level         uint8      `json:"level,omitempty"`
	Role          string     `json:"role,omitempty"`
	Tenant        string     `json:"tenant,omitempty"`
	Address       string     `json:"address,omitempty"`
	FirstAddress  string     `json:"first_address,omitempty"`
	Agent         string     `json:"agent,omitempty"`
	Label         string     `json:"label,omitempty"`
	Ended         *lineEnd   `json:"ended,omitempty"`

	addrs []netip.Addr
	now   time.Time
}

// lineEnd is how a session ended.
type lineEnd struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
	By    string    `json:"by,omitempty"`
}

// The states of a line, beside those that sessions are created in.
const (
	stateLocked     = "locked"
	stateExpired    = "expired" // and nobody has noticed yet
	stateEnded      = "ended"
	stateRemembered = "remembered" // a login, not a session
)

func newLine(r *store.Record, now time.Time) line {
	l := line{
		Handle: r.Handle.String(), Namespace: r.Namespace, User: r.Subject, State: stateOf(r, now), CreatedAs: r.State.String(),
		Created: r.Created, Seen: r.Seen, Expires: timeOf(r.Expiry()), Deadline: timeOf(r.Deadline), Authenticated: timeOf(r.Assurance.At),
		Methods: r.Assurance.Methods, Level: r.Assurance.Level, Role: r.Assurance.Role, Tenant: r.Assurance.Tenant,
		Address: addrOf(r.Last.Addr), FirstAddress: addrOf(r.First.Addr), Agent: r.Last.Agent, Label: r.Label,
		addrs: []netip.Addr{r.First.Addr, r.Last.Addr}, now: now,
	}
	if strings.HasSuffix(r.Namespace, rememberedSuffix) {
		l.CreatedAs = stateRemembered
	}
	if r.Ended() {
		l.Ended, l.Expires = &lineEnd{r.End.At, r.End.Cause, r.End.By}, nil
	}
	return l
}

// stateOf says what has become of a session.
func stateOf(r *store.Record, now time.Time) string {
	_, expired := r.Expired(now)
	switch {
	case r.Ended():
		return stateEnded
	case expired:
		return stateExpired
	case r.LockedAt(now):
		return stateLocked
	case strings.HasSuffix(r.Namespace, rememberedSuffix):
		return stateRemembered
	}
	return r.State.String()
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func addrOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// columns are those of a list. At 80 characters, user and device are cut.
func columns(short bool) []column {
	handle := func(l line) string { return l.Handle }
	if short {
		handle = func(l line) string { return l.Handle[:8] }
	}
	return []column{
		{title: "HANDLE", value: handle},
		{title: "USER", least: 8, value: func(l line) string { return orDash(plain.Text(l.User)) }},
		{title: "STATE", value: func(l line) string { return l.State }, paint: func(l line) colour { return stateColour(l.State) }},
		{title: "SEEN", value: func(l line) string { return ageText(l.now.Sub(l.Seen)) }},
		{title: "AGE", value: func(l line) string { return ageText(l.now.Sub(l.Created)) }},
		{title: "LEFT", value: line.left},
		{title: "ADDRESS", least: 15, value: func(l line) string { return orDash(l.Address) }},
		{title: "DEVICE", least: 8, value: line.device, paint: func(l line) colour {
			if l.Ended != nil {
				return dim
			}
			return 0
		}},
	}
}

// left says how long a session has if nobody uses it.
func (l line) left() string {
	if l.Ended != nil || l.Expires == nil {
		return "–"
	}
	return ageText(l.Expires.Sub(l.now))
}

// device is what a session is used with, or why it ended.
func (l line) device() string {
	switch {
	case l.Ended != nil && l.Ended.By != "" && l.Ended.By != l.User:
		return plain.Text(l.Ended.Cause + ", by " + l.Ended.By)
	case l.Ended != nil:
		return plain.Text(l.Ended.Cause)
	case l.Agent == "":
		return orDash(plain.Text(l.Label))
	}
	return plain.Agent(l.Agent)
}

func stateColour(state string) colour {
	switch state {
	case store.Active.String():
		return green
	case stateLocked, store.Pending.String():
		return yellow
	case stateEnded, stateExpired:
		return dim
	}
	return 0
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// print writes lines as JSON, one each, or as a table.
func (d *desk) print(lines []line) error {
	d.progressOver()
	if !d.json {
		return d.table(columns(d.width > 0 && d.width < 100), lines)
	}
	out := newJSON(d.out)
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
