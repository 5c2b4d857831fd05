package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/session/store"
)

const statsHelp = `Stats counts sessions: by state, by age, by when they were used last and by when they
run out. It looks at all of them, which takes a while with millions; the counts are
those of the time at which it began, as far as the sessions were still there when it
came to them.`

func newStatsCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count sessions by state and age",
		Long:  statsHelp + "\n" + storeURLHelp,
		Example: `  cloakroom sessions stats
  cloakroom sessions stats --json | jq .alive`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return withDesk(cmd, f, runStats) },
	}
	f.add(cmd, "print one JSON object")
	return cmd
}

// maxUsers is up to how many users are told apart: more would not fit into the
// memory of small machines.
const maxUsers = 5_000_000

// stats are counts of sessions.
type stats struct {
	At         time.Time `json:"at"`
	Alive      int       `json:"alive"`
	Anonymous  int       `json:"anonymous"`
	Pending    int       `json:"pending"`
	Active     int       `json:"active"`
	Locked     int       `json:"locked"` // of the active ones
	Users      int       `json:"users"`
	MoreUsers  bool      `json:"users_is_minimum,omitempty"`
	Remembered int       `json:"remembered"`
	Expired    int       `json:"expired"`
	Ended      int       `json:"ended"`
	Created    []bar     `json:"created"`
	Seen       []bar     `json:"seen"`
	Expires    []bar     `json:"expires"`
	Bytes      int64     `json:"bytes,omitempty"`

	seed  maphash.Seed
	users map[uint64]struct{} // hashes of names
}

// bar is the number of sessions up to a time, and beyond the one before.
type bar struct {
	Within string `json:"within"`
	Count  int    `json:"count"`
	most   time.Duration
}

func bars(most ...time.Duration) []bar {
	all := make([]bar, 0, len(most)+1)
	for _, d := range most {
		all = append(all, bar{Within: ageText(d), most: d})
	}
	return append(all, bar{Within: "more", most: 1<<63 - 1})
}

func put(bars []bar, d time.Duration) {
	for i := range bars {
		if d <= bars[i].most {
			bars[i].Count++
			return
		}
	}
}

func newStats(now time.Time) *stats {
	const day = 24 * time.Hour
	return &stats{
		At: now, seed: maphash.MakeSeed(), users: make(map[uint64]struct{}),
		Created: bars(time.Hour, day, 7*day, 30*day), Seen: bars(5*time.Minute, time.Hour, day, 7*day),
		Expires: bars(15*time.Minute, time.Hour, day, 30*day),
	}
}

func runStats(ctx context.Context, d *desk) error {
	s := newStats(time.Now().UTC())
	q := store.Query{Namespace: d.namespace, Ended: true, Now: s.At}
	err := d.scan(ctx, q, func(r *store.Record) bool {
		s.add(r)
		return true
	})
	if err != nil {
		return err
	}
	q.Namespace, q.Ended = d.namespace+rememberedSuffix, false
	err = d.scan(ctx, q, func(*store.Record) bool {
		s.Remembered++
		return true
	})
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	if report, err := d.opened.Inspect(asking); err == nil { // the size is only nice to know
		s.Bytes = report.Bytes
	}
	d.progressOver()
	s.Users = len(s.users)
	if d.json {
		return newJSON(d.out).Encode(s)
	}
	return s.print(d.out)
}

// add counts one session.
func (s *stats) add(r *store.Record) {
	switch _, expired := r.Expired(s.At); {
	case r.Ended():
		s.Ended++
		return
	case expired:
		s.Expired++
		return
	}
	s.Alive++
	switch r.State {
	case store.Anonymous:
		s.Anonymous++
	case store.Pending:
		s.Pending++
	case store.Active:
		s.Active++
		if r.LockedAt(s.At) {
			s.Locked++
		}
		s.addUser(r.Subject)
	}
	put(s.Created, s.At.Sub(r.Created))
	put(s.Seen, s.At.Sub(r.Seen))
	if at := r.Expiry(); !at.IsZero() {
		put(s.Expires, at.Sub(s.At))
	}
}

func (s *stats) addUser(name string) {
	if h := maphash.String(s.seed, name); len(s.users) < maxUsers {
		s.users[h] = struct{}{}
	} else if _, known := s.users[h]; !known {
		s.MoreUsers = true
	}
}

func (s *stats) print(w io.Writer) error {
	var b strings.Builder
	number := func(name string, n int, about string) {
		fmt.Fprintf(&b, "%-12s %12s  %s\n", name, grouped(n), about)
	}
	number("alive", s.Alive, "")
	number("  active", s.Active, fmt.Sprintf("of %s%s, %s locked", choose(s.MoreUsers, "more than ", ""), counted(s.Users, "user"), grouped(s.Locked)))
	number("  pending", s.Pending, "second factor missing")
	number("  anonymous", s.Anonymous, "visitors")
	number("expired", s.Expired, "not swept yet")
	number("ended", s.Ended, "remembered for a day, or longer")
	number("remembered", s.Remembered, "logins that are kept (\"keep me signed in\")")
	for _, part := range []struct {
		title string
		bars  []bar
	}{{"created", s.Created}, {"used last", s.Seen}, {"run out if not used", s.Expires}} {
		fmt.Fprintf(&b, "\n%s\n", part.title)
		for _, bar := range part.bars {
			name := choose(bar.Within == "more", "more", "within "+bar.Within)
			fmt.Fprintf(&b, "%-12s %12s  %s\n", "  "+name, grouped(bar.Count), strings.Repeat("▆", bar.Count*40/max(1, s.Alive)))
		}
	}
	if s.Bytes > 0 {
		fmt.Fprintf(&b, "\n%s in the store, tombstones included", sizeText(s.Bytes))
		if n := s.Alive + s.Expired + s.Ended + s.Remembered; n >= 1000 {
			fmt.Fprintf(&b, ", %s for each record", sizeText(s.Bytes/int64(n)))
		}
		b.WriteString("\n")
	}
	text := strings.ReplaceAll(b.String(), "  \n", "\n")
	_, err := io.WriteString(w, text)
	return err
}
