package storeurl

import (
	"context"
	"fmt"
	"time"
)

// Report is what [Opened.Inspect] finds out about an engine.
type Report struct {
	Engine string
	// Product and Version are what the server says about itself.
	Product, Version string
	// Schema is the version of the tables, and Known the one that this program
	// brings them to. Both are zero where there are no tables.
	Schema, Known int
	// Durability says what an acknowledged write survives, in a few words.
	Durability string
	// Settings are those of the engine that sessions depend on.
	Settings []Setting
	// Clock is how far the server's clock is ahead of ours, if HasClock.
	Clock    time.Duration
	HasClock bool
	// Bytes is what the sessions take, or everything that the engine holds
	// where it does not tell them apart. Zero means not known.
	Bytes int64
}

// Setting is one setting of an engine.
type Setting struct {
	Name, Value string
	// Wrong says what it endangers and what would be right. It is empty if all
	// is well.
	Wrong string
}

// set adds a setting, and what is wrong with it where bad.
func (r *Report) set(name, value string, bad bool, wrong string) {
	if !bad {
		wrong = ""
	}
	r.Settings = append(r.Settings, Setting{name, value, wrong})
}

// Inspect asks the engine about its version and settings. It changes nothing.
func (s *Opened) Inspect(ctx context.Context) (Report, error) {
	r := Report{Engine: s.Engine}
	if err := s.inspect(ctx, &r); err != nil {
		return r, s.scrub.clean(fmt.Errorf("asking %s about itself: %w", s.URL, err))
	}
	return r, nil
}

// clock asks for the server's time, and takes it for that of the middle between
// question and answer. Of several answers the quickest counts.
func (r *Report) clock(ctx context.Context, ask func(ctx context.Context) (time.Time, error)) error {
	shortest := time.Duration(-1)
	for range 5 {
		began := time.Now()
		server, err := ask(ctx)
		if err != nil {
			return fmt.Errorf("asking for the time: %w", err)
		}
		if took := time.Since(began); shortest < 0 || took < shortest {
			shortest, r.Clock, r.HasClock = took, server.Sub(began.Add(took/2)), true
		}
	}
	return nil
}
