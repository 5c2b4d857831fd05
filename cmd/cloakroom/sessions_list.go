package main

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/session/store"
)

const listHelp = `List prints sessions, those first that were used last. Without --state it prints
what is alive.

It stops when it has found as many as --limit says, in an order of the store's own,
and prints how to go on. With --sort it looks at all sessions and prints the first
ones in that order; with millions of them that takes a while.

Logins that are remembered ("keep me signed in") are listed with --state remembered,
and with --user beside the sessions.

Columns: SEEN is how long ago a session was used last, AGE how long ago it was
created, LEFT how long it lasts if nobody uses it.`

const listExamples = `  cloakroom sessions list
  cloakroom sessions list --user alice --state any
  cloakroom sessions list --address 203.0.113.0/24 --seen-within 1h
  cloakroom sessions list --older 30d --sort created --limit 20
  cloakroom sessions list --json --limit 0 | jq -r .user | sort | uniq -c`

// listOptions say which sessions are wanted.
type listOptions struct {
	sessionsFlags
	user, address, state  string
	older, younger        string
	seenWithin, seenSince string
	limit                 int
	sort                  string
	cursor                string
}

func newListCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List sessions by user, age, address and state",
		Long:    listHelp + "\n" + storeURLHelp,
		Example: listExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := o.filter()
			if err != nil {
				return usageError{err}
			}
			return withDesk(cmd, o.sessionsFlags, func(ctx context.Context, d *desk) error { return o.list(ctx, d, filter) })
		},
	}
	o.add(cmd, "print one JSON object a line")
	flags := cmd.Flags()
	flags.StringVar(&o.user, "user", "", "only sessions of this `user`")
	flags.StringVar(&o.address, "address", "", "only sessions created or last used from this `address` or range, such as 10.0.0.0/8")
	flags.StringVar(&o.state, "state", "", "only sessions in this `state`: "+strings.Join(states(), ", "))
	flags.StringVar(&o.older, "older", "", "only sessions created longer ago than this `time`, such as 12h or 30d")
	flags.StringVar(&o.younger, "younger", "", "only sessions created within this `time`")
	flags.StringVar(&o.seenWithin, "seen-within", "", "only sessions used within this `time`")
	flags.StringVar(&o.seenSince, "unseen", "", "only sessions not used for this `time`")
	flags.IntVar(&o.limit, "limit", 50, "`number` of sessions to print; 0 means all")
	flags.StringVar(&o.sort, "sort", "", "look at all sessions and sort them by `column`: "+strings.Join(orders(), ", "))
	flags.StringVar(&o.cursor, "after", "", "go on from this `place`, as the list before has printed it")
	return cmd
}

// states are what --state takes.
func states() []string {
	return []string{"anonymous", "pending", "active", stateLocked, stateExpired, stateEnded, stateRemembered, "any"}
}

// orders are what --sort takes.
func orders() []string { return []string{"seen", "created", "expires", "user"} }

// filter decides about single sessions, and what the store is asked for.
type filter struct {
	query     store.Query
	state     string
	prefix    netip.Prefix
	age, idle span
}

// span is a range of times; the zero one holds all.
type span struct{ least, most time.Duration }

func (s span) holds(d time.Duration) bool { return d >= s.least && (s.most == 0 || d <= s.most) }

// filter reads the flags.
func (o listOptions) filter() (f filter, err error) {
	if o.state != "" && !slices.Contains(states(), o.state) {
		return f, fmt.Errorf("--state %q is not one of %s", o.state, strings.Join(states(), ", "))
	}
	if o.sort != "" && !slices.Contains(orders(), o.sort) {
		return f, fmt.Errorf("--sort %q is not one of %s", o.sort, strings.Join(orders(), ", "))
	}
	if o.limit < 0 {
		return f, fmt.Errorf("--limit %d is negative", o.limit)
	}
	if o.cursor != "" && o.sort != "" {
		return f, fmt.Errorf("--after does not go with --sort, which always looks at everything")
	}
	for _, t := range []struct {
		flag, text string
		into       *time.Duration
	}{
		{"--older", o.older, &f.age.least}, {"--younger", o.younger, &f.age.most},
		{"--unseen", o.seenSince, &f.idle.least}, {"--seen-within", o.seenWithin, &f.idle.most},
	} {
		if *t.into, err = parseAge(t.text); err != nil {
			return f, fmt.Errorf("%s %w", t.flag, err)
		}
	}
	if o.address != "" {
		if f.prefix, err = parsePrefix(o.address); err != nil {
			return f, fmt.Errorf("--address %q is not an address like 192.0.2.7, nor a range like 192.0.2.0/24", o.address)
		}
	}
	f.state = o.state
	f.query = store.Query{Subject: o.user, Ended: slices.Contains([]string{stateExpired, stateEnded, "any"}, o.state), Now: time.Now().UTC()}
	for _, s := range []store.State{store.Anonymous, store.Pending, store.Active} {
		if s.String() == o.state {
			f.query.State = s
		}
	}
	return f, nil
}

// parseAge reads a time that may be given in days.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := text, time.Duration(1)
	if days, found := strings.CutSuffix(text, "d"); found {
		number, unit = days+"h", 24
	}
	d, err := time.ParseDuration(number)
	if err != nil || d <= 0 || d > 100*365*24*time.Hour/unit {
		return 0, fmt.Errorf("%q is not a time like 90s, 15m, 12h or 30d", text)
	}
	return d * unit, nil
}

// parsePrefix reads a range of addresses, or an address as the range of it alone.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96) // as sessions have it
		}
		return prefix.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return addr.Unmap().WithZone("").Prefix(addr.Unmap().BitLen())
}

// wants decides about one session.
func (f filter) wants(l line) bool {
	switch f.state {
	case stateLocked, stateExpired, stateEnded, stateRemembered:
		if l.State != f.state {
			return false
		}
	case "", "any":
	default:
		if l.State == stateLocked {
			return false
		}
	}
	if f.prefix.IsValid() && !slices.ContainsFunc(l.addrs, f.prefix.Contains) {
		return false
	}
	return f.age.holds(l.now.Sub(l.Created)) && f.idle.holds(l.now.Sub(l.Seen))
}

// namespaces are those that can hold what is wanted.
func (f filter) namespaces(d *desk) []string {
	both := d.namespaces()
	switch {
	case f.state == stateRemembered:
		return both[1:]
	case f.query.Subject != "" && (f.state == "" || f.query.Ended):
		return both
	}
	return both[:1]
}

// list prints what was asked for.
func (o listOptions) list(ctx context.Context, d *desk, f filter) error {
	if o.sort != "" {
		return o.sorted(ctx, d, f)
	}
	var found []line
	from, err := parsePlace(o.cursor, len(f.namespaces(d)))
	if err != nil {
		return usageError{err}
	}
	next := ""
	for i, namespace := range f.namespaces(d)[from.namespace:] {
		if i > 0 {
			from = place{namespace: from.namespace + i}
		}
		f.query.Namespace = namespace
		if found, next, err = o.collect(ctx, d, f, from, found); err != nil {
			return err
		}
		if next != "" {
			break
		}
	}
	slices.SortStableFunc(found, order("seen"))
	if err := d.print(found); err != nil {
		return err
	}
	if next != "" {
		fmt.Fprintf(d.err, "There are more; to go on: --after %s\n", next)
	} else if len(found) == 0 {
		fmt.Fprintln(d.err, "No session like that.")
	}
	return nil
}

// place is where a list goes on: in a page of the store, after one of its sessions.
type place struct {
	namespace int
	cursor    string
	after     string // handle
}

func (p place) String() string { return fmt.Sprintf("%d:%s:%s", p.namespace, p.after, p.cursor) }

func parsePlace(text string, namespaces int) (p place, err error) {
	if text == "" {
		return p, nil
	}
	number, rest, _ := strings.Cut(text, ":")
	after, cursor, found := strings.Cut(rest, ":")
	if number == "1" {
		p.namespace = 1
	} else if number != "0" {
		found = false
	}
	if !found || p.namespace >= namespaces {
		return p, fmt.Errorf("--after %q is not a place that a list like this has printed", text)
	}
	p.after, p.cursor = after, cursor
	return p, nil
}

// collect adds what is found in one namespace, until there is enough, and returns
// where to go on.
func (o listOptions) collect(ctx context.Context, d *desk, f filter, from place, found []line) ([]line, string, error) {
	q, looked := f.query, 0
	q.Cursor = from.cursor
	for {
		q.Max = scanPage
		if o.limit > 0 {
			q.Max = min(scanPage, max(o.limit, 50))
		}
		page, err := d.page(ctx, q)
		if err != nil {
			return nil, "", err
		}
		records := page.Records
		if i := slices.IndexFunc(records, func(r store.Record) bool { return r.Handle.String() == from.after }); i >= 0 {
			records = records[i+1:]
		}
		for i := range records {
			l := newLine(&records[i], q.Now)
			if o.limit > 0 && len(found) == o.limit {
				return found, place{from.namespace, q.Cursor, from.after}.String(), nil
			}
			from.after = l.Handle
			if f.wants(l) {
				found = append(found, l)
			}
		}
		looked += len(page.Records)
		d.progress("looked at %s, found %d", counted(looked, "session"), len(found))
		from.after = ""
		if q.Cursor = page.Next; q.Cursor == "" {
			return found, "", nil
		}
		if o.limit > 0 && len(found) == o.limit {
			return found, place{from.namespace, q.Cursor, ""}.String(), nil
		}
	}
}

// order compares lines by a column.
func order(by string) func(a, b line) int {
	return func(a, b line) int {
		c := 0
		switch by {
		case "seen":
			c = b.Seen.Compare(a.Seen)
		case "created":
			c = a.Created.Compare(b.Created)
		case "expires":
			c = compareExpiry(a, b)
		case "user":
			c = cmp.Or(cmp.Compare(a.User, b.User), b.Seen.Compare(a.Seen))
		}
		return cmp.Or(c, cmp.Compare(a.Handle, b.Handle))
	}
}

// compareExpiry puts those last that do not expire.
func compareExpiry(a, b line) int {
	switch {
	case a.Expires == nil && b.Expires == nil:
		return 0
	case a.Expires == nil:
		return 1
	case b.Expires == nil:
		return -1
	}
	return a.Expires.Compare(*b.Expires)
}

// sorted prints the first ones in an order, whose number alone bounds the memory
// that this takes.
func (o listOptions) sorted(ctx context.Context, d *desk, f filter) error {
	best := &lastFirst{compare: order(o.sort)}
	matches := 0
	for _, namespace := range f.namespaces(d) {
		f.query.Namespace = namespace
		err := d.scan(ctx, f.query, func(r *store.Record) bool {
			if l := newLine(r, f.query.Now); f.wants(l) {
				matches++
				heap.Push(best, l)
				if o.limit > 0 && best.Len() > o.limit {
					heap.Pop(best)
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(best.lines, best.compare)
	if err := d.print(best.lines); err != nil {
		return err
	}
	if matches > len(best.lines) {
		fmt.Fprintf(d.err, "These are %s of %s.\n", grouped(len(best.lines)), counted(matches, "session"))
	} else if matches == 0 {
		fmt.Fprintln(d.err, "No session like that.")
	}
	return nil
}

// lastFirst is a heap whose top is what comes last in an order.
type lastFirst struct {
	lines   []line
	compare func(a, b line) int
}

func (h *lastFirst) Len() int           { return len(h.lines) }
func (h *lastFirst) Less(i, j int) bool { return h.compare(h.lines[i], h.lines[j]) > 0 }
func (h *lastFirst) Swap(i, j int)      { h.lines[i], h.lines[j] = h.lines[j], h.lines[i] }
func (h *lastFirst) Push(x any)         { h.lines = append(h.lines, x.(line)) }
func (h *lastFirst) Pop() any {
	last := h.lines[len(h.lines)-1]
	h.lines = h.lines[:len(h.lines)-1]
	return last
}
