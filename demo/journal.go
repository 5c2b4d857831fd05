package demo

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
	"sync"

	"cloakroom.example/session"
)

// Bounds of the journal. With its texts cut, an event takes less than a kilobyte;
// it is kept for its session, and the latest ones in a ring beside. All of it is
// below 16 MiB, whatever comes from the network.
const (
	journalEvents     = 8192 // kept for sessions, all together
	journalPerSession = 64
	journalRing       = 1024
	journalSweeping   = 16 // revocations of everything
	journalText       = 256
)

// journal remembers the events of each session, and the latest ones of all: who
// reads along is never waited for. It knows what the observers of the library
// know, which is neither a token nor a value. What it has forgotten is in the log:
// who sends thousands of requests can push out what is known of quieter sessions.
type journal struct {
	mu       sync.Mutex
	number   uint64                // of the last event; they are numbered from 1
	ring     [journalRing]numbered // number n is at n modulo its size
	sessions map[session.Handle]*history
	order    *list.List    // of *history, the least recently active one in front
	kept     int           // events in all histories
	sweeping []numbered    // revocations of everything
	more     chan struct{} // closed by the next event, if somebody waits for it
}

// numbered is an event with its place among all events.
type numbered struct {
	number uint64
	session.Event
}

// history is what happened under one handle.
type history struct {
	handle         session.Handle
	previous, next session.Handle // of the same browser, before and after a renewal
	events         []numbered
	left           int    // events left out somewhere after the first one
	ended          uint64 // the event that ended it
	place          *list.Element
}

func newJournal() *journal {
	return &journal{sessions: make(map[session.Handle]*history), order: list.New()}
}

// observe is an observer of the session library.
func (j *journal) observe(e session.Event) {
	e.Subject, e.Initiator, e.Cause, e.Agent = cut(e.Subject), cut(e.Initiator), cut(e.Cause), cut(e.Agent)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.number++
	r := numbered{j.number, e}
	j.ring[r.number%journalRing] = r
	switch {
	case isSweeping(e):
		j.sweeping = append(j.sweeping[max(0, len(j.sweeping)+1-journalSweeping):], r)
	case !e.Handle.IsZero():
		j.fileLocked(r)
	}
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// isSweeping reports whether an event is about all sessions, so that none of them
// has one of its own.
func isSweeping(e session.Event) bool { return e.Type == session.EventRevoked && e.Subject == "" }

// cut returns a copy of a text that takes no more than its part of the memory.
func cut(text string) string {
	if len(text) > journalText {
		text = strings.ToValidUTF8(text[:journalText], "")
	}
	return strings.Clone(text)
}

// fileLocked adds an event to the history of its session.
func (j *journal) fileLocked(r numbered) {
	h := j.sessions[r.Handle]
	if h == nil {
		if r.Type == session.EventUnknownToken {
			return // whoever guesses handles must not push out what is known of others
		}
		h = &history{handle: r.Handle}
		h.place = j.order.PushBack(h)
		j.sessions[r.Handle] = h
	}
	h.events = append(h.events, r)
	j.kept++
	if len(h.events) > journalPerSession {
		at := h.sparable()
		h.events = slices.Delete(h.events, at, at+1)
		h.left++
		j.kept--
	}
	if r.Type == session.EventExpired || r.Type == session.EventLogout {
		h.ended = r.number
	}
	if before := j.sessions[r.Previous]; before != nil {
		h.previous, before.next, before.ended = r.Previous, r.Handle, r.number
	}
	j.order.MoveToBack(h.place)
	for j.kept > journalEvents {
		oldest := j.order.Remove(j.order.Front()).(*history)
		delete(j.sessions, oldest.handle)
		j.kept -= len(oldest.events)
	}
}

// sparable returns which event can be missed best. The first one stays: it says
// where the session came from. Of the others, those go first that whoever has an
// old ticket can cause as often as he likes, or he could hide how it ended.
func (h *history) sparable() int {
	return 1 + max(0, slices.IndexFunc(h.events[1:], func(r numbered) bool {
		return isBad(r.Event) && r.Type != session.EventReuse
	}))
}

// of returns what happened to a session, the oldest event first: also under the
// handles that the same browser had before and after a renewal, and to all
// sessions while it was there. Where events were left out, an event of type
// [session.EventDropped] says how many.
func (j *journal) of(h session.Handle) []session.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var records []numbered
	for _, h := range j.chainLocked(h) {
		for i, r := range h.events {
			records = append(records, r)
			if i == 0 && h.left > 0 {
				gone := session.Event{Type: session.EventDropped, Time: r.Time, Handle: h.handle, Count: h.left}
				records = append(records, numbered{r.number, gone})
			}
		}
		for _, r := range j.sweeping {
			if first := h.events[0].number; first < r.number && (h.ended == 0 || r.number < h.ended) {
				records = append(records, r)
			}
		}
	}
	slices.SortStableFunc(records, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	events := make([]session.Event, len(records))
	for i, r := range records {
		events[i] = r.Event
	}
	return events
}

// chainLocked returns the histories that are linked with a handle by renewals,
// the oldest one first, and not many of them.
func (j *journal) chainLocked(h session.Handle) []*history {
	at := j.sessions[h]
	if at == nil {
		return nil
	}
	chain := []*history{at}
	for h := j.sessions[at.previous]; h != nil && len(chain) < journalPerSession; h = j.sessions[h.previous] {
		chain = append(chain, h)
	}
	slices.Reverse(chain)
	for h := j.sessions[at.next]; h != nil && len(chain) < 2*journalPerSession; h = j.sessions[h.next] {
		chain = append(chain, h)
	}
	return chain
}

// news is what happened after a certain event.
type news struct {
	events []session.Event
	last   uint64          // number of the last event
	missed int             // how many were forgotten before anybody asked
	more   <-chan struct{} // closed when there is another one after last
}

// now returns the number of the last event, to be given to since.
func (j *journal) now() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.number
}

// since returns what happened after the event of that number. Who comes back too
// late is told how much he has missed; nobody ever waits for him.
func (j *journal) since(number uint64) news {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	n := news{last: j.number, more: j.more}
	number = min(number, j.number) // it may come from another run, or be made up
	if oldest := j.number - min(j.number, journalRing); number < oldest {
		n.missed = int(oldest - number)
		number = oldest
	}
	for number++; number <= j.number; number++ {
		n.events = append(n.events, j.ring[number%journalRing].Event)
	}
	return n
}
