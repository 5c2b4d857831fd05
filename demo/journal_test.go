package demo

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
)

// handle returns the n-th handle of a test.
func handle(n int) session.Handle { return session.Handle{byte(n >> 16), byte(n >> 8), byte(n), 1} }

func created(n int) session.Event {
	return session.Event{Type: session.EventCreated, Handle: handle(n), Cause: "visit"}
}

// types returns the types and causes of events, in order.
func types(events []session.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, strings.TrimPrefix(e.Type, "session_")+":"+e.Cause)
	}
	return strings.Join(all, " ")
}

func TestJournalFollowsABrowser(t *testing.T) {
	j := newJournal()
	for _, e := range []session.Event{
		created(1),
		created(9), // somebody else
		{Type: session.EventRenewed, Handle: handle(2), Previous: handle(1), Subject: "alice", Cause: "login"},
		{Type: session.EventRenewed, Handle: handle(2), Subject: "alice", Cause: "rotation"},
		{Type: session.EventUseAfterExpire, Handle: handle(1), Cause: "renewed"},
		{Type: session.EventRenewed, Handle: handle(3), Previous: handle(2), Subject: "alice", Cause: "elevation"},
		{Type: session.EventLogout, Handle: handle(3), Subject: "alice"},
		{Type: session.EventRevoked, Cause: "leak"}, // of everything
	} {
		j.observe(e)
	}
	want := "created:visit renewed:login renewed:rotation use_after_expire:renewed renewed:elevation logout:"
	for n := 1; n <= 3; n++ {
		if got := types(j.of(handle(n))); got != want {
			t.Errorf("session %d: got %s, want %s", n, got, want)
		}
	}
	if got, want := types(j.of(handle(9))), "created:visit revoked:leak"; got != want {
		t.Errorf("somebody else: got %s, want %s", got, want)
	}
	for name, h := range map[string]session.Handle{"unknown": handle(7), "zero": {}} {
		if got := j.of(h); len(got) != 0 {
			t.Errorf("%s handle: got %v, want nothing", name, got)
		}
	}
}

// TestJournalOfOneIsBounded: the first event and the last ones are kept, and it
// is said how many are missing between.
func TestJournalOfOneIsBounded(t *testing.T) {
	j := newJournal()
	j.observe(created(1))
	for n := range 3 * journalPerSession {
		j.observe(session.Event{Type: session.EventUnknownToken, Handle: handle(1), Cause: fmt.Sprint(n)})
	}
	got := j.of(handle(1))
	if len(got) != journalPerSession+1 || got[0].Type != session.EventCreated ||
		got[1].Type != session.EventDropped || got[1].Count != 2*journalPerSession+1 ||
		got[len(got)-1].Cause != fmt.Sprint(3*journalPerSession-1) {
		t.Errorf("got %d events: %s", len(got), types(got))
	}
}

// TestJournalKeepsTheEnd: whoever shows an old ticket again and again cannot hide
// what became of the session.
func TestJournalKeepsTheEnd(t *testing.T) {
	j := newJournal()
	j.observe(created(1))
	j.observe(session.Event{Type: session.EventReuse, Handle: handle(1)})
	j.observe(session.Event{Type: session.EventExpired, Handle: handle(1), Cause: adminCause + "stolen", Initiator: "root"})
	for range 3 * journalPerSession {
		j.observe(session.Event{Type: session.EventUseAfterExpire, Handle: handle(1), Cause: adminCause + "stolen"})
	}
	got := j.of(handle(1))
	if len(got) != journalPerSession+1 || !strings.HasPrefix(types(got), "created:visit events_dropped: reuse: expired:admin: stolen use_") {
		t.Errorf("got %d events: %s", len(got), types(got))
	}
	if text, _ := adminEventText(got[1]); text != "131 events missing here" {
		t.Errorf("the page says %q of what was left out", text)
	}
}

// TestJournalIsBounded: what is forgotten is that of sessions of which nothing was
// heard for the longest time, and guesses push out nobody.
func TestJournalIsBounded(t *testing.T) {
	j := newJournal()
	for n := range journalEvents {
		j.observe(created(n))
	}
	j.observe(session.Event{Type: session.EventLogout, Handle: handle(0)})
	for n := range journalEvents {
		j.observe(session.Event{Type: session.EventUnknownToken, Handle: handle(1<<20 + n), Cause: "unknown"})
	}
	if j.kept != journalEvents || len(j.sessions) != journalEvents-1 || j.order.Len() != len(j.sessions) {
		t.Errorf("got %d events of %d sessions, %d in order", j.kept, len(j.sessions), j.order.Len())
	}
	if len(j.of(handle(1))) != 0 || len(j.of(handle(0))) != 2 || len(j.of(handle(2))) != 1 {
		t.Errorf("got %d, %d and %d events, want the second session forgotten",
			len(j.of(handle(0))), len(j.of(handle(1))), len(j.of(handle(2))))
	}
	for range 2 * journalSweeping {
		j.observe(session.Event{Type: session.EventRevoked})
	}
	if got := len(j.of(handle(2))); got != 1+journalSweeping {
		t.Errorf("got %d events after many revocations of everything, want %d", got, 1+journalSweeping)
	}
	long := strings.Repeat("ä", 4096)
	j.observe(session.Event{Type: session.EventCreated, Handle: handle(1), Agent: long, Cause: long, Subject: long, Initiator: long})
	e := j.of(handle(1))[0]
	for name, text := range map[string]string{"agent": e.Agent, "cause": e.Cause, "subject": e.Subject, "initiator": e.Initiator} {
		if len(text) != journalText {
			t.Errorf("%s: got %d bytes, want %d", name, len(text), journalText)
		}
	}
}

// TestJournalSince: who reads along gets every event once; who is slow is told
// what he has missed; nobody waits for either.
func TestJournalSince(t *testing.T) {
	j := newJournal()
	slow := j.since(j.now())
	if len(slow.events) != 0 || slow.last != 0 || slow.missed != 0 {
		t.Fatalf("got %+v of an empty journal", slow)
	}
	const many = 3*journalRing + 5
	seen := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for after := uint64(0); after < many; {
			n := j.since(after)
			seen += len(n.events) + n.missed
			after = n.last
			if after == many {
				return
			}
			select {
			case <-n.more:
			case <-time.After(10 * time.Second):
				t.Errorf("nobody said that there is more after %d of %d", after, many)
				return
			}
		}
	})
	for n := range many {
		j.observe(created(n))
	}
	wg.Wait()
	if seen != many {
		t.Errorf("saw or missed %d events, want %d", seen, many)
	}
	select {
	case <-slow.more:
	default:
		t.Error("the slow reader was not told that there is more")
	}
	got := j.since(slow.last)
	if len(got.events) != journalRing || got.missed != many-journalRing || got.last != many ||
		got.events[0].Handle != handle(many-journalRing) || got.events[journalRing-1].Handle != handle(many-1) {
		t.Errorf("the slow reader: got %d events from %v, %d missed", len(got.events), got.events[0].Handle, got.missed)
	}
	if n := j.since(math.MaxUint64); len(n.events) != 0 || n.last != many {
		t.Errorf("a number that was made up: got %d events, last %d", len(n.events), n.last)
	}
	if n := j.since(many + 1000); len(n.events) != 0 || n.missed != 0 || n.last != many {
		t.Errorf("a number of another run: got %d events, %d missed, last %d", len(n.events), n.missed, n.last)
	}
}
