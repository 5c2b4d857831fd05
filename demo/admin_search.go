package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const (
	// adminPage is how many sessions a page of the store has. Where many of
	// them are not wanted, what is left of several makes one page of ours.
	adminPage = 50
	// adminLook is how many sessions one request looks at, at most. Those of
	// another state or, unless wanted, that have ended the store has left out
	// before.
	adminLook = 2000
	// adminPatience is how long one search may take.
	adminPatience = 5 * time.Second
)

// adminSearch says which sessions are wanted. Its fields are those of the form,
// as they stand in the address.
type adminSearch struct {
	User   string
	Addr   string // an address, or a prefix such as 10.0.0.0/8
	Since  string // when it was signed in, one of ages
	Seen   string // when it was used last, one of ages
	State  string // one of states
	Cursor string // where the store goes on

	prefix netip.Prefix // of Addr
}

// choice is one line of a list to choose from.
type choice struct{ Value, Text string }

// Ages are the times to choose from.
func (adminSearch) Ages() []choice {
	return []choice{
		{"", "at any time"}, {"within-15m", "within 15 minutes"}, {"within-1h", "within an hour"},
		{"within-24h", "within a day"}, {"older-15m", "over 15 minutes ago"}, {"older-1h", "over an hour ago"},
		{"older-24h", "over a day ago"},
	}
}

// States are the states to choose from.
func (adminSearch) States() []choice {
	return []choice{
		{"", "alive"}, {"signed-in", "signed in"}, {"visitor", "visitor"}, {"half", "second factor missing"},
		{"locked", "locked"}, {"ended", "ended"}, {"any", "alive or ended"},
	}
}

// parseSearch reads a search from an address, and says what is wrong with it.
func parseSearch(v url.Values) (q adminSearch, wrong string) {
	q = adminSearch{
		User: strings.ToLower(strings.TrimSpace(v.Get("user"))), Addr: strings.TrimSpace(v.Get("addr")),
		Since: v.Get("since"), Seen: v.Get("seen"), State: v.Get("state"), Cursor: v.Get("cursor"),
	}
	if q.Addr != "" {
		var err error
		if q.prefix, err = parsePrefix(q.Addr); err != nil {
			wrong = "That is no address. One looks like 192.0.2.7 or 2001:db8::1, a range like 192.0.2.0/24."
		}
	}
	if !has(q.Ages(), q.Since) || !has(q.Ages(), q.Seen) || !has(q.States(), q.State) {
		q.Since, q.Seen, q.State = "", "", ""
		wrong = "There is no such time or state to choose."
	}
	if len(q.User) > maxUsername || len(q.Cursor) > maxUsername {
		wrong = "Nobody has a name as long as that."
	}
	q.User, q.Addr = legible(q.User), legible(q.Addr)
	return q, wrong
}

func has(choices []choice, value string) bool {
	return slices.ContainsFunc(choices, func(c choice) bool { return c.Value == value })
}

// parsePrefix reads a prefix, or an address as the prefix that holds it alone.
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

// values returns the search as it stands in an address, without what is not set.
func (q adminSearch) values() url.Values {
	v := make(url.Values)
	for _, field := range []struct{ name, value string }{
		{"user", q.User}, {"addr", q.Addr}, {"since", q.Since}, {"seen", q.Seen}, {"state", q.State}, {"cursor", q.Cursor},
	} {
		if field.value != "" {
			v.Set(field.name, field.value)
		}
	}
	return v
}

// Any reports whether the search leaves anything out.
func (q adminSearch) Any() bool {
	q.Cursor = ""
	return len(q.values()) > 0
}

// at returns the address of the list from a place in it on.
func (q adminSearch) at(cursor string) string {
	q.Cursor = cursor
	if v := q.values(); len(v) > 0 {
		return "/admin?" + v.Encode()
	}
	return "/admin"
}

// query returns what the store itself can leave out.
func (q adminSearch) query(now time.Time) store.Query {
	of := store.Query{
		Subject: q.User, Ended: q.State == "ended" || q.State == "any", Now: now, Cursor: q.Cursor, Max: adminPage,
	}
	switch q.State {
	case "signed-in":
		of.State = store.Active
	case "visitor":
		of.State = store.Anonymous
	case "half":
		of.State = store.Pending
	}
	return of
}

// wants decides about one session. The store has looked at user and state.
func (q adminSearch) wants(l adminLine, now time.Time) bool {
	if q.State == "ended" && l.Alive || q.State == "locked" && !l.Locked {
		return false
	}
	if q.Addr != "" && !slices.ContainsFunc(l.addrs, q.prefix.Contains) {
		return false
	}
	return isAged(q.Since, now.Sub(l.Since)) && isAged(q.Seen, now.Sub(l.Seen))
}

// isAged reports whether an age is one of those that were chosen.
func isAged(chosen string, age time.Duration) bool {
	how, limit, _ := strings.Cut(chosen, "-")
	d, err := time.ParseDuration(limit)
	if err != nil {
		return true // at any time
	}
	return (how == "within") == (age <= d)
}

// sessionList is one page of what was found.
type sessionList struct {
	Lines []adminLine
	// First and Next are the addresses of the first and the next page, or
	// empty.
	First, Next string
	// Looked is how many sessions were looked at, if the search was cut short.
	Looked int
}

// Found says how many there are, as far as that is known.
func (l sessionList) Found() string {
	n := count(len(l.Lines), "session")
	switch {
	case l.Looked > 0:
		return fmt.Sprintf("%s among the %d looked at. The search was cut short there: the next page goes on.", n, l.Looked)
	case l.Next != "":
		return n + " on this page, and there are more."
	case l.First != "":
		return n + " on this page, the last one."
	case len(l.Lines) == 0:
		return "No session like that."
	}
	return n + "."
}

// errCursor says that somebody has made up the place to go on from.
var errCursor = errors.New("demo: no such place in the list")

// search looks for sessions in the store: the manager lists only those that are
// alive, and from the beginning. It goes on until there are enough for a page, or
// it has looked at too many. Whoever follows the pages sees every session once
// that stays alive, because the order is the store's own; within a page, the one
// used last comes first.
func (s *Shop) search(r *http.Request, q adminSearch) (list sessionList, err error) {
	own, now := session.From(r.Context()).Handle(), s.now()
	looked, next, err := s.scan(r.Context(), q.query(now), func(found *store.Record) int {
		if line := s.newAdminLine(found, own, now); q.wants(line, now) {
			list.Lines = append(list.Lines, line)
		}
		return len(list.Lines)
	})
	if err != nil {
		return list, err
	}
	slices.SortFunc(list.Lines, func(a, b adminLine) int {
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.Handle, b.Handle))
	})
	if next != "" {
		list.Next = q.at(next)
		if len(list.Lines) < adminPage {
			list.Looked = looked
		}
	}
	if q.Cursor != "" {
		list.First = q.at("")
	}
	return list, nil
}

// scan reads pages of the store, and hands over their records, until those that
// were taken fill a page of ours. It returns how many it has looked at, and where
// to go on.
func (s *Shop) scan(ctx context.Context, of store.Query, take func(*store.Record) (taken int)) (looked int, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	for taken := 0; ; {
		page, err := s.store.List(ctx, of)
		if err != nil {
			if of.Cursor != "" && !errors.Is(err, session.ErrUnavailable) {
				err = errCursor
			}
			return looked, "", fmt.Errorf("searching sessions: %w", err)
		}
		for i := range page.Records {
			taken = take(&page.Records[i])
		}
		looked += len(page.Records)
		if of.Cursor = page.Next; of.Cursor == "" || taken >= adminPage || looked >= adminLook {
			return looked, of.Cursor, nil
		}
	}
}
