package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"cloakroom.example/plain"
	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const revokeHelp = `Revoke ends sessions: the ones whose handles are given, all of a user, all of a user
but one, or all there are. Servers refuse them with their next request, and so does
a login that was under way when its user was revoked. What was remembered of a user
("keep me signed in") ends with his sessions.

The reason and your name stand with each session that has ended, and in the events
that servers report when its token comes back. The reason is stored behind
"` + operatorCause + `", so that it cannot be mistaken for one of the library's own.

Whatever ends more than one session asks first, and says how many there are. In
scripts, say --yes.`

const revokeExamples = `  cloakroom sessions revoke Zk3f9aQ1 --reason "left on a library computer"
  cloakroom sessions revoke --user alice --reason "password stolen"
  cloakroom sessions revoke --user alice --all-but Zk3f9aQ1 --reason "asked for it on the phone"
  cloakroom sessions revoke --all --reason "key compromised" --by "anna, on call"

  # everything from one network
  cloakroom sessions list --address 203.0.113.0/24 --limit 0 --json | jq -r .handle |
    cloakroom sessions revoke - --yes --reason "botnet"`

// operatorCause comes before the reason that an operator gives.
const operatorCause = "operator: "

// maxReason is the longest reason or name, in bytes.
const maxReason = 200

type revokeOptions struct {
	sessionsFlags
	user, allBut string
	all, yes     bool
	reason, by   string
}

func newRevokeCommand() *cobra.Command {
	var o revokeOptions
	cmd := &cobra.Command{
		Use:     "revoke [HANDLE…]",
		Short:   "End sessions, for a reason",
		Long:    revokeHelp + "\n" + storeURLHelp,
		Example: revokeExamples,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return usageError{err}
			}
			return withDesk(cmd, o.sessionsFlags, func(ctx context.Context, d *desk) error { return o.run(ctx, d, args) })
		},
	}
	o.add(cmd, "print what happened as events, one JSON object a line")
	flags := cmd.Flags()
	flags.StringVar(&o.user, "user", "", "end all sessions of this `user`")
	flags.StringVar(&o.allBut, "all-but", "", "with --user, spare the session with this `handle`")
	flags.BoolVar(&o.all, "all", false, "end all sessions of the namespace, visitors' too")
	flags.StringVar(&o.reason, "reason", "", "why; it stands with the sessions and in events")
	flags.StringVar(&o.by, "by", "", "who you are (default: your name on this machine)")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	return cmd
}

// check says what is wrong with the flags, and fills in who it is.
func (o *revokeOptions) check(args []string) error {
	named := 0
	for _, is := range []bool{len(args) > 0, o.user != "", o.all} {
		if is {
			named++
		}
	}
	switch {
	case named == 0:
		return errors.New("nothing is named: give handles, --user or --all")
	case named > 1:
		return errors.New("handles, --user and --all exclude each other")
	case o.allBut != "" && o.user == "":
		return errors.New("--all-but goes with --user")
	case slices.Contains(args, "-") && len(args) > 1:
		return errors.New("- reads handles from the input, and goes alone")
	case slices.Contains(args, "-") && !o.yes:
		return errors.New("with handles from the input nobody can be asked: add --yes")
	}
	if o.by == "" {
		if who, err := user.Current(); err == nil {
			o.by = who.Username
		}
	}
	if o.by == "" {
		return errors.New("say who you are, with --by")
	}
	for _, text := range []struct{ flag, value string }{{"--reason", o.reason}, {"--by", o.by}} {
		switch bad := func(c rune) bool { return !unicode.IsPrint(c) }; {
		case strings.TrimSpace(text.value) == "":
			return errors.New("give a " + text.flag + ": it stands with what has ended, and in events")
		case len(text.value) > maxReason:
			return fmt.Errorf("%s has %d bytes, at most %d", text.flag, len(text.value), maxReason)
		case !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, bad):
			return fmt.Errorf("%s is not one line of plain text", text.flag)
		}
	}
	return nil
}

// run asks, and then ends what was named.
func (o *revokeOptions) run(ctx context.Context, d *desk, args []string) error {
	handles, err := o.handles(ctx, d, args)
	if err != nil {
		return err
	}
	if err := o.ask(ctx, d, handles); err != nil {
		return err
	}
	r, err := newRevoker(d)
	if err != nil {
		return err
	}
	ctx = session.WithInitiator(ctx, o.by)
	said, err := o.revoke(ctx, d, r.manager, handles)
	if errors.Is(err, store.ErrUnknownOutcome) {
		err = fmt.Errorf("%w; run it again: ending what has ended does no harm", err)
	}
	err = errors.Join(err, r.close())
	if said != "" && !o.json {
		fmt.Fprintln(d.out, said)
	}
	return err
}

// handles looks up the sessions that were named one by one.
func (o *revokeOptions) handles(ctx context.Context, d *desk, args []string) (all []store.Handle, err error) {
	if o.allBut != "" {
		args = []string{o.allBut}
	}
	if slices.Equal(args, []string{"-"}) {
		return o.readHandles(d)
	}
	for _, arg := range args {
		found, err := d.find(ctx, arg)
		if err != nil {
			return nil, err
		}
		if o.allBut != "" && (found.Subject != o.user || !found.Alive(time.Now()) || found.Namespace != d.namespace) {
			return nil, fmt.Errorf("--all-but %s: that is not a session of %s", arg, o.user)
		}
		all = append(all, found.Handle)
	}
	return all, nil
}

// readHandles reads whole handles, one on a line. Nothing is ended if one of them is
// none.
func (o *revokeOptions) readHandles(d *desk) (all []store.Handle, err error) {
	lines := bufio.NewScanner(d.in)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		h, err := store.ParseHandle(text)
		if err != nil {
			return nil, fmt.Errorf("line %d of the input is not a handle; nothing was changed", n)
		}
		all = append(all, h)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading handles: %w", err)
	}
	return all, nil
}

// ask asks before anything wide.
func (o *revokeOptions) ask(ctx context.Context, d *desk, handles []store.Handle) error {
	if o.yes {
		return nil
	}
	switch {
	case o.all:
		n, err := d.count(ctx, "")
		if err != nil {
			return err
		}
		return d.confirm(fmt.Sprintf("This ends all %s in %s", counted(n, "session"), d.where()), "all")
	case o.user != "":
		n, err := d.count(ctx, o.user)
		if err != nil {
			return err
		}
		n -= len(handles)
		if n > 1 {
			return d.confirm(fmt.Sprintf("This ends %s of %s", counted(n, "session"), plain.Text(o.user)), "yes")
		}
	case len(handles) > 1:
		return d.confirm("This ends "+counted(len(handles), "session"), "yes")
	}
	return nil
}

// where names the store and the namespace.
func (d *desk) where() string {
	if d.namespace == "" {
		return d.opened.URL
	}
	return fmt.Sprintf("namespace %s of %s", d.namespace, d.opened.URL)
}

// count returns how many sessions are alive, of a user or of all.
func (d *desk) count(ctx context.Context, user string) (n int, err error) {
	defer d.progressOver()
	q := store.Query{Namespace: d.namespace, Subject: user, Now: time.Now().UTC()}
	if c, ok := d.store.(store.Counter); ok {
		d.progress("counting")
		ctx, cancel := context.WithTimeout(ctx, storePatience)
		defer cancel()
		if n, err = c.Count(ctx, q); err != nil {
			err = fmt.Errorf("counting sessions: %w", err)
		}
		return n, err
	}
	err = d.scan(ctx, q, func(*store.Record) bool {
		n++
		return true
	})
	return n, err
}

// revoke ends sessions and says what it has done.
func (o *revokeOptions) revoke(ctx context.Context, d *desk, m *session.Manager, handles []store.Handle) (said string, err error) {
	cause := operatorCause + o.reason
	switch {
	case o.all:
		if err := m.RevokeAll(ctx, cause); err != nil {
			return "", err
		}
		return "All sessions in " + d.where() + " have ended.", nil
	case o.user != "":
		var n int
		if o.allBut != "" {
			n, err = m.RevokeSubjectExcept(ctx, o.user, handles[0], cause)
		} else {
			n, err = m.RevokeSubject(ctx, o.user, cause)
		}
		if err != nil {
			return "", err
		}
		return counted(n, "session") + " of " + plain.Text(o.user) + " ended.", nil
	}
	ended := 0
	for i, h := range handles {
		alive, err := m.Revoke(ctx, h, cause)
		if err != nil {
			return fmt.Sprintf("%s ended, of %d.", counted(ended, "session"), len(handles)), err
		}
		if alive {
			ended++
		}
		d.progress("ended %d of %s", i+1, counted(len(handles), "session"))
	}
	d.progressOver()
	if before := len(handles) - ended; before > 0 {
		return fmt.Sprintf("%s ended; %d had ended before.", counted(ended, "session"), before), nil
	}
	return counted(ended, "session") + " ended.", nil
}

// revoker is a manager for ending sessions.
type revoker struct {
	manager *session.Manager
}

// newRevoker returns a manager on the store. Its events are printed as JSON if that
// is wanted.
func newRevoker(d *desk) (*revoker, error) {
	c := session.Config{
		Store: unswept{d.store}, Namespace: d.namespace, StoreTimeout: storePatience, Logger: slog.New(slog.DiscardHandler),
	}
	if d.json {
		out := newJSON(d.out)
		c.Observers = []func(session.Event){func(e session.Event) { _ = out.Encode(newEventLine(e)) }}
	}
	m, err := session.New(c)
	if err != nil {
		return nil, usageError{err} // the namespace
	}
	return &revoker{m}, nil
}

func (r *revoker) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return r.manager.Close(ctx)
}

// unswept keeps the manager from sweeping: what has expired is for the servers to
// notice, and to report. It counts no visitors either.
type unswept struct{ store.Store }

// EstimateAnonymous implements [store.Estimator].
func (unswept) EstimateAnonymous(context.Context, string) (int, error) { return 0, nil }

// eventLine is an event of the library as JSON.
type eventLine struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Handle string    `json:"handle,omitempty"`
	User   string    `json:"user,omitempty"`
	Cause  string    `json:"cause,omitempty"`
	By     string    `json:"by,omitempty"`
	Count  int       `json:"count,omitempty"`
}

func newEventLine(e session.Event) eventLine {
	l := eventLine{Time: e.Time.UTC(), Event: e.Type, User: e.Subject, Cause: e.Cause, By: e.Initiator, Count: e.Count}
	if !e.Handle.IsZero() {
		l.Handle = e.Handle.String()
	}
	return l
}
