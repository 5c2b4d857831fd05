package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/plain"
	"cloakroom.example/session/store"
)

const watchHelp = `Watch prints a line for each session that is created, changed, locked or ended, with
the cause and by whom, until it is interrupted. What users do without changing their
session is not shown.

Where the engine pushes changes, they are shown at once; new sessions, and all
changes elsewhere, when the store is looked through the next time: once a second,
and less often if that takes long. Watch remembers every session there is; with
millions of them, watch the events of the servers instead.

Events: created, changed, rotated (the session got a new token), locked, shortened,
ended, expired (nobody used it in time), removed (what was left of an ended one).`

func newWatchCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print what happens to sessions, as it happens",
		Long:  watchHelp + "\n" + storeURLHelp,
		Example: `  cloakroom sessions watch
  cloakroom sessions watch --json | jq 'select(.event == "ended")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withDesk(cmd, f, func(ctx context.Context, d *desk) error { return newWatch(d).run(ctx) })
		},
	}
	f.add(cmd, "print one JSON object a line")
	return cmd
}

const (
	// watchEvery is how often the store is looked through, and watchShare how
	// little of the time that may take.
	watchEvery, watchShare = time.Second, 10
	// watchAgain is how long to wait before pushes are asked for again.
	watchAgain = 5 * time.Second
)

// The events of a watch.
const (
	happenedCreated   = "created"
	happenedChanged   = "changed"
	happenedRotated   = "rotated"
	happenedLocked    = "locked"
	happenedShortened = "shortened"
	happenedEnded     = "ended"
	happenedExpired   = "expired"
	happenedRemoved   = "removed"
)

// watchLine is one event as JSON.
type watchLine struct {
	Time      time.Time `json:"time"`
	Event     string    `json:"event"`
	Handle    string    `json:"handle"`
	Namespace string    `json:"namespace,omitempty"`
	User      string    `json:"user,omitempty"`
	State     string    `json:"state,omitempty"`
	Address   string    `json:"address,omitempty"`
	Agent     string    `json:"agent,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	By        string    `json:"by,omitempty"`
}

// watch compares sessions with what it has seen of them.
type watch struct {
	*desk
	seen    map[store.Key]sight
	round   int         // number of the last look through the store
	news    []watchLine // found and not yet printed
	changed chan []store.Key
	all     chan struct{} // something may have changed that is not known
}

// sight is what was seen of a session.
type sight struct {
	round   int
	version uint64
	rotated time.Time
	limit   time.Time
	user    string
	locked  bool
	ended   bool
}

func newWatch(d *desk) *watch {
	return &watch{desk: d, seen: make(map[store.Key]sight), changed: make(chan []store.Key, 256), all: make(chan struct{}, 1)}
}

// run prints events until ctx ends.
func (w *watch) run(ctx context.Context) error {
	took, err := w.look(ctx, false)
	if err != nil {
		return err
	}
	w.progressOver()
	if !w.json {
		fmt.Fprintf(w.err, "Watching %s in %s. Ctrl-C ends it.\n", counted(len(w.seen), "session"), w.where())
	}
	if w.opened.Watcher != nil {
		for _, namespace := range w.namespaces() {
			go w.follow(ctx, namespace)
		}
	}
	failing := false
	for {
		pause := time.NewTimer(max(watchEvery, watchShare*took))
		select {
		case keys := <-w.changed:
			err = w.glance(ctx, keys)
		case <-w.all:
			took, err = w.look(ctx, true)
		case <-pause.C:
			took, err = w.look(ctx, true)
		case <-ctx.Done():
		}
		pause.Stop()
		switch {
		case ctx.Err() != nil:
			return nil // it was interrupted, which is how it ends
		case errors.Is(err, errOutput):
			return err
		case err != nil && !failing:
			fmt.Fprintf(w.err, "cloakroom: %s; trying again\n", plain.Text(oneLine(err)))
		}
		failing = err != nil
	}
}

// follow receives what the engine pushes.
func (w *watch) follow(ctx context.Context, namespace string) {
	tellAll := func() {
		select {
		case w.all <- struct{}{}:
		default:
		}
	}
	for ctx.Err() == nil {
		_ = w.opened.Watcher.Watch(ctx, namespace, store.Watching{ // without it, the next look finds the same
			Ready: tellAll,
			Changed: func(handles []store.Handle) {
				keys := make([]store.Key, len(handles))
				for i, h := range handles {
					keys[i] = store.Key{Namespace: namespace, Handle: h}
				}
				select {
				case w.changed <- keys:
				default:
					tellAll()
				}
			},
			ChangedAll: tellAll,
			Confirmed:  func(time.Time) {},
			Wanted:     func() bool { return true },
		})
		select {
		case <-time.After(watchAgain):
		case <-ctx.Done():
		}
	}
}

// glance looks at single sessions.
func (w *watch) glance(ctx context.Context, keys []store.Key) error {
	for _, k := range keys {
		r, err := w.load(ctx, k, nil)
		switch {
		case errors.Is(err, store.ErrNotFound):
			w.gone(k)
		case err != nil:
			return errors.Join(err, w.flush())
		default:
			w.compare(&r, true)
		}
	}
	return w.flush()
}

// look looks through the store, and says how long that took. The first time, what
// is there is no news.
func (w *watch) look(ctx context.Context, tell bool) (took time.Duration, err error) {
	began := time.Now()
	w.round++
	for _, namespace := range w.namespaces() {
		err := w.scan(ctx, store.Query{Namespace: namespace, Ended: true, Now: time.Now().UTC()}, func(r *store.Record) bool {
			w.compare(r, tell)
			return true
		})
		if err != nil {
			return time.Since(began), errors.Join(err, w.flush())
		}
	}
	w.progressOver()
	for _, k := range w.missing() {
		w.gone(k)
	}
	took = time.Since(began)
	return took, w.flush()
}

// missing returns the sessions that were not there any more.
func (w *watch) missing() (all []store.Key) {
	for k, s := range w.seen {
		if s.round != w.round {
			all = append(all, k)
		}
	}
	return all
}

// compare notes what a session is like now, and tells what is new about it.
func (w *watch) compare(r *store.Record, tell bool) {
	before, known := w.seen[r.Key()]
	now := sight{
		round: w.round, version: r.Version, rotated: r.Rotated, limit: r.Limit, user: r.Subject, locked: r.Locked, ended: r.Ended(),
	}
	if known && (now.version < before.version || before.ended) { // a page that was read before a push
		before.round = w.round
		w.seen[r.Key()] = before
		return
	}
	w.seen[r.Key()] = now
	if !tell {
		return
	}
	if !known {
		w.tell(r, happenedCreated, r.Created)
	}
	switch {
	case now.ended:
		w.tell(r, happenedEnded, r.End.At)
	case !known:
	case now.locked && !before.locked:
		w.tell(r, happenedLocked, time.Now())
	case !now.limit.Equal(before.limit):
		w.tell(r, happenedShortened, time.Now())
	case !now.rotated.Equal(before.rotated):
		w.tell(r, happenedRotated, r.Rotated)
	case now.version != before.version:
		w.tell(r, happenedChanged, time.Now())
	}
}

// gone deals with a session that is no longer in the store.
func (w *watch) gone(k store.Key) {
	before, known := w.seen[k]
	if !known {
		return
	}
	delete(w.seen, k)
	event := happenedRemoved
	if !before.ended {
		event = happenedExpired // its engine forgets what nobody has used in time
	}
	w.news = append(w.news, watchLine{
		Time: time.Now().UTC(), Event: event, Handle: k.Handle.String(), Namespace: k.Namespace, User: before.user,
	})
}

func (w *watch) tell(r *store.Record, event string, at time.Time) {
	l := newLine(r, time.Now())
	w.news = append(w.news, watchLine{
		Time: at.UTC(), Event: event, Handle: l.Handle, Namespace: l.Namespace, User: l.User, State: l.State,
		Address: l.Address, Agent: l.Agent, Cause: r.End.Cause, By: r.End.By,
	})
}

// flush prints the news, in the order of time.
func (w *watch) flush() error {
	slices.SortStableFunc(w.news, func(a, b watchLine) int { return a.Time.Compare(b.Time) })
	for _, l := range w.news {
		if err := w.print(l); err != nil {
			return err
		}
	}
	w.news = nil
	return nil
}

// errOutput says that nobody reads what is printed.
var errOutput = errors.New("printing events")

func (w *watch) print(l watchLine) (err error) {
	if w.json {
		err = newJSON(w.out).Encode(l)
	} else {
		_, err = fmt.Fprintln(w.out, w.text(l))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// text is an event as one line.
func (w *watch) text(l watchLine) string {
	handle, about := l.Handle, ""
	if w.width > 0 {
		handle = l.Handle[:8]
	}
	switch {
	case l.Cause != "":
		about = l.Cause
		if l.By != "" && l.By != l.User {
			about += ", by " + l.By
		}
	case l.Address != "" || l.Agent != "":
		about = l.Address + "  " + plain.Agent(l.Agent)
	}
	event := w.paint(eventColour(l.Event), fit(l.Event, 9))
	text := fmt.Sprintf("%s  %s  %s  %s  ", l.Time.Local().Format(time.TimeOnly), event, handle, fit(orDash(plain.Text(l.User)), 12))
	if room := w.width - 8 - 9 - len(handle) - 12 - 8; w.width > 0 && room > 8 {
		return text + fit(plain.Text(about), min(room, max(1, len([]rune(about)))))
	}
	return text + plain.Text(about)
}

func eventColour(event string) colour {
	switch event {
	case happenedCreated:
		return green
	case happenedLocked, happenedShortened:
		return yellow
	case happenedEnded:
		return red
	case happenedExpired, happenedRemoved:
		return dim
	}
	return 0
}
