package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/plain"
	"cloakroom.example/session/store"
)

const showHelp = `Show prints what the store knows about one session, and its story: when it was
created, used, locked and ended, by whom and why. What the application keeps in a
session is sealed; show prints how much that is.

A session that has ended is remembered for a day or longer, without what it held.`

func newShowCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "show HANDLE",
		Short: "Show one session and its story",
		Long:  showHelp + "\n" + storeURLHelp,
		Example: `  cloakroom sessions show Zk3f9aQ1
  cloakroom sessions show --json Zk3f9aQ1 | jq .ended`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withDesk(cmd, f, func(ctx context.Context, d *desk) error { return d.show(ctx, args[0]) })
		},
	}
	f.add(cmd, "print one JSON object")
	return cmd
}

// partNames are the parts that the library gives to records.
func partNames() []string { return []string{"app", "session"} }

// shown is a session as JSON, with what a list leaves out.
type shown struct {
	line
	Version uint64         `json:"version"`
	Rotated *time.Time     `json:"rotated,omitempty"`
	Idle    string         `json:"idle,omitempty"`
	Limit   *time.Time     `json:"shortened_to,omitempty"`
	Carried string         `json:"transport"`
	Links   int            `json:"links"`
	Bytes   map[string]int `json:"sealed_bytes,omitempty"`
}

func (d *desk) show(ctx context.Context, handle string) error {
	found, err := d.find(ctx, handle)
	if err != nil {
		return err
	}
	r, err := d.load(ctx, found.Key(), partNames())
	if err != nil {
		return fmt.Errorf("loading session %s: %w", found.Handle, err)
	}
	s := shown{
		line: newLine(&r, time.Now().UTC()), Version: r.Version, Rotated: timeOf(r.Rotated), Limit: timeOf(r.Limit),
		Carried: map[store.Transport]string{store.Cookie: "cookie", store.Bearer: "bearer"}[r.Transport],
		Links:   len(r.Links), Bytes: make(map[string]int),
	}
	if r.Idle > 0 {
		s.Idle = r.Idle.String()
	}
	for _, p := range r.Parts {
		s.Bytes[p.Name] = len(p.Sealed)
	}
	if d.json {
		return newJSON(d.out).Encode(s)
	}
	return s.print(d.terminal, r.IdleLocks)
}

// print writes the session as a list of what is known about it.
func (s shown) print(t *terminal, locks bool) error {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s  %s\n", t.paint(bold, fit(name, 14)), value)
		}
	}
	field("session", s.Handle)
	field("user", plain.Text(s.User))
	state := s.State
	if s.State != s.CreatedAs {
		state += ", created as " + s.CreatedAs
	}
	field("state", t.paint(stateColour(s.State), state))
	field("label", plain.Text(s.Label))
	field("role", plain.Text(s.Role))
	field("tenant", plain.Text(s.Tenant))
	field("signed in with", s.assurance())
	field("device", s.agent())
	field("address", s.addresses())
	field("carried by", s.Carried)
	if s.Idle != "" {
		field("without use", choose(locks, "locks after ", "ends after ")+s.Idle)
	}
	if s.Links > 0 {
		field("links", fmt.Sprint(s.Links))
	}
	field("holds", s.holds())
	b.WriteString("\n")
	for _, e := range s.story() {
		fmt.Fprintf(&b, "%s  %s  %s\n", e.at.Local().Format("2006-01-02 15:04:05"), fit(relative(e.at, s.now), 10), e.what)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (s shown) assurance() string {
	text := plain.Text(strings.Join(s.Methods, " + "))
	if s.Level > 0 {
		text += fmt.Sprintf(" (assurance level %d)", s.Level)
	}
	return text
}

func (s shown) agent() string {
	if s.Agent == "" {
		return ""
	}
	return plain.Agent(s.Agent) + ": " + plain.Text(s.Agent)
}

func (s shown) addresses() string {
	if s.FirstAddress == s.Address {
		return s.Address
	}
	return fmt.Sprintf("%s, at first %s", orDash(s.Address), orDash(s.FirstAddress))
}

func (s shown) holds() string {
	switch n := s.Bytes["app"]; {
	case s.Ended != nil:
		return "nothing any more"
	case n > 0:
		return counted(n, "sealed byte") + " of values"
	}
	return "no values"
}

// happened is one event of a session's story.
type happened struct {
	at   time.Time
	what string
}

// story tells what the record knows, in the order of time.
func (s shown) story() (all []happened) {
	add := func(at *time.Time, what string) {
		if at != nil && !at.IsZero() {
			all = append(all, happened{*at, what})
		}
	}
	if s.Authenticated != nil && s.Authenticated.Before(s.Created) {
		add(s.Authenticated, "user authenticated")
	}
	add(&s.Created, "created")
	if s.Authenticated != nil && s.Authenticated.After(s.Created) {
		add(s.Authenticated, "user authenticated")
	}
	if s.Rotated != nil && s.Rotated.After(s.Created) {
		add(s.Rotated, "got its present token")
	}
	if s.Seen.After(s.Created) {
		add(&s.Seen, "used last")
	}
	if s.Ended != nil {
		what := "ended: " + plain.Text(s.Ended.Cause)
		if s.Ended.By != "" {
			what += ", by " + plain.Text(s.Ended.By)
		}
		add(&s.Ended.At, what)
		return all
	}
	if s.Limit != nil {
		add(s.Limit, "ends however much it is used: somebody has shortened it")
	}
	if s.Expires != nil {
		add(s.Expires, choose(s.State == stateExpired, "ran out", "ends if it is not used"))
	}
	if s.Deadline != nil && s.Limit == nil {
		add(s.Deadline, "ends however much it is used")
	}
	return all
}

// relative says how long ago something was, or how far ahead it is.
func relative(at, now time.Time) string {
	if d := now.Sub(at); d >= 0 {
		return ageText(d) + " ago"
	}
	return "in " + ageText(at.Sub(now))
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
