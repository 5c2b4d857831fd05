package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/plain"
	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

const checkHelp = `Check asks an engine what it is and how it is set up, compares its clock with ours,
and times reading, writing and revoking a session of its own, in a namespace of its
own, which it clears away. Nothing else is written, and no table is made.

Exit codes beside those below:
  3  the store works, but something should be put right; the lines marked with !
     say what`

// maxClock is how far clocks may differ before people should know: the store
// contract tolerates twice as much.
const maxClock = store.ClockSkew / 2

// errAdvised says that the store works, but not as it should.
var errAdvised = errors.New("the store works, but something should be put right: see what is marked with \"!\"")

func newStoreCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := newStoreSubcommand(&cobra.Command{
		Use:   "check [URL]",
		Short: "Say whether an engine is fit to keep sessions",
		Long:  checkHelp + "\n" + storeURLHelp,
		Example: `  cloakroom store check redis://redis.example.org
  cloakroom store check --json $CLOAKROOM_STORE | jq .settings`,
	}, func(cmd *cobra.Command, f storeFlags) error {
		return runCheck(cmd.Context(), f, asJSON, cmd.OutOrStdout())
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// checked is the result of a check, as JSON.
type checked struct {
	URL        string           `json:"url"`
	Engine     string           `json:"engine"`
	Product    string           `json:"product"`
	Version    string           `json:"version,omitempty"`
	Schema     int              `json:"schema,omitempty"`
	Durability string           `json:"durability"`
	Bytes      int64            `json:"bytes,omitempty"`
	ClockMs    *float64         `json:"clock_ahead_ms,omitempty"`
	Settings   []checkedSetting `json:"settings"`
	Latency    []latency        `json:"latency"`
	Push       string           `json:"push"`
}

type checkedSetting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Wrong string `json:"wrong,omitempty"`
}

func runCheck(ctx context.Context, f storeFlags, asJSON bool, stdout io.Writer) (err error) {
	opened, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore(opened, &err)
	asking, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	report, err := opened.Inspect(asking)
	if err != nil {
		return err
	}
	c := newChecked(opened, report)
	p := newProbe(opened.Store, opened.Watcher)
	defer func() { err = errors.Join(err, p.clearAway(context.WithoutCancel(ctx))) }()
	if c.Latency, err = p.measure(ctx); err != nil {
		return fmt.Errorf("trying %s with a session: %w", opened.URL, err)
	}
	if c.Push, err = p.push(ctx); err != nil {
		c.note("push", c.Push, err.Error())
	}
	if asJSON {
		err = newJSON(stdout).Encode(c)
	} else {
		err = c.print(stdout)
	}
	if err == nil && c.advised() {
		return errAdvised
	}
	return err
}

func newChecked(opened *storeurl.Opened, r storeurl.Report) *checked {
	c := &checked{
		URL: opened.URL, Engine: r.Engine, Product: r.Product, Version: r.Version, Schema: r.Schema,
		Durability: r.Durability, Bytes: r.Bytes,
	}
	for _, s := range r.Settings {
		c.note(s.Name, s.Value, s.Wrong)
	}
	if r.HasClock {
		ahead := float64(r.Clock) / float64(time.Millisecond)
		c.ClockMs = &ahead
		wrong := ""
		if r.Clock.Abs() > maxClock {
			wrong = fmt.Sprintf("clocks of nodes may differ by %v at most, see that time is synchronised", store.ClockSkew)
		}
		c.note("clock", clockText(r.Clock), wrong)
	}
	return c
}

func (c *checked) note(name, value, wrong string) {
	c.Settings = append(c.Settings, checkedSetting{name, value, wrong})
}

func (c *checked) advised() bool {
	for _, s := range c.Settings {
		if s.Wrong != "" {
			return true
		}
	}
	return false
}

// clockText says how far a clock is ahead of ours or behind.
func clockText(d time.Duration) string {
	switch d = d.Round(time.Millisecond); {
	case d == 0:
		return "as ours"
	case d > 0:
		return fmt.Sprintf("%v ahead of ours", d)
	}
	return fmt.Sprintf("%v behind ours", -d)
}

func (c *checked) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", c.URL)
	line := func(name, value string) { fmt.Fprintf(&b, "  %-30s  %s\n", plain.Text(name), plain.Text(value)) }
	line("engine", strings.TrimSpace(c.Product+" "+c.Version))
	if c.Schema > 0 {
		line("tables", fmt.Sprintf("version %d", c.Schema))
	}
	line("durability", c.Durability)
	if c.Bytes > 0 {
		line("size", sizeText(c.Bytes))
	}
	for _, s := range c.Settings {
		value := s.Value
		if value == "" {
			value = "(empty)"
		}
		line(s.Name, value)
		if s.Wrong != "" {
			fmt.Fprintf(&b, "! %-30s  %s\n", "", s.Wrong)
		}
	}
	for _, l := range c.Latency {
		line(l.What, fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", l.P50, l.P99))
	}
	if c.Push != "" {
		line("changes of other nodes", c.Push)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
