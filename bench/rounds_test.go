package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"nothing":    {nil, spread{}},
		"one":        {[]float64{7}, spread{7, 7, 7}},
		"odd":        {[]float64{5, 1, 4, 2, 3}, spread{3, 2, 4}},
		"even":       {[]float64{4, 1, 3, 2}, spread{2.5, 1.75, 3.25}},
		"an outlier": {[]float64{1, 1, 1, 1, 1000}, spread{1, 1, 1}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestNoiseCancels: a machine that is three times slower in some rounds does not
// change a ratio that is taken within each.
func TestNoiseCancels(t *testing.T) {
	slowdown := []float64{1, 3, 1, 2, 3}
	var bare, ours, peer []float64
	for _, s := range slowdown {
		bare, ours, peer = append(bare, s*1), append(ours, s*3), append(peer, s*21)
	}
	if got := spreadOf(ratios(above(ours, bare), above(peer, bare))); got != single(0.1) {
		t.Errorf("got %v, want 0.1 throughout", got)
	}
	if got := above([]float64{1, 5}, []float64{2, 2}); !slices.Equal(got, []float64{0, 3}) {
		t.Errorf("got %v, want no cost below zero", got)
	}
}

// TestAlternate: everybody has a batch in each round, of about the same time, and
// pays for what he allocates.
func TestAlternate(t *testing.T) {
	var now time.Duration
	calls := make(map[string]int)
	var kept []byte
	worker := func(name string, cost time.Duration, allocations int) contender {
		return contender{name: name, serve: func(n int) error {
			for range n {
				now += cost
				for range allocations {
					kept = make([]byte, 64)
				}
			}
			calls[name] += n
			return nil
		}}
	}
	s := schedule{rounds: 4, batch: time.Millisecond, clock: func() time.Duration { return now }, procs: 1}
	got, err := alternate(t.Context(), s, func(int, int) {}, worker("quick", time.Microsecond, 0), worker("slow", 10*time.Microsecond, 3))
	if err != nil || len(kept) == 0 {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"quick": 1000, "slow": 10_000} {
		if ns := got[name].nanoseconds; len(ns) != 4 || slices.Max(ns) != want || slices.Min(ns) != want {
			t.Errorf("%s: got %v, want 4 times %v", name, ns, want)
		}
		if calls[name] == 0 {
			t.Errorf("%s was not called", name)
		}
	}
	if a := spreadOf(above(got["slow"].allocations, got["quick"].allocations)); a.Median < 2.9 || a.Median > 3.1 {
		t.Errorf("got %v allocations more, want 3", a.Median)
	}
}

func TestAlternateFails(t *testing.T) {
	broken := contender{name: "broken", serve: func(int) error { return errors.New("out of order") }}
	s := schedule{rounds: 1, batch: time.Millisecond, clock: wallClock()}
	_, err := alternate(t.Context(), s, func(int, int) {}, broken)
	if err == nil || !strings.Contains(err.Error(), "broken: out of order") {
		t.Errorf("got %v, want who it was and why", err)
	}
}

// forgetful loses what it is given.
type forgetful struct{ *bare }

func (forgetful) name() string                { return "forgetful" }
func (forgetful) user(*http.Request) string   { return "" }
func (forgetful) close(context.Context) error { return nil }

// TestForgetfulLibraryIsNotMeasured: who does not answer has no times.
func TestForgetfulLibraryIsNotMeasured(t *testing.T) {
	b := &bench{scale: tiny(), progress: func(int, int) {}}
	_, err := compareCosts(t.Context(), b, b.requests(), []library{forgetful{newBare()}}, fillBytes, readUser)
	if err == nil || !strings.Contains(err.Error(), errAnswer.Error()) {
		t.Errorf("got %v, want %v", err, errAnswer)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 6: "6", 1.256: "1.26", 12.34: "12.3", 453.2: "453", 33512.7: "33513"} {
		if got := digits(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
	if got, want := fraction(spread{0.1, 0.08, 0.125}), "1/10 (1/12.5–1/8)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fraction(spread{2, 0, 4}), "2× (0×–4×)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := fraction(single(0.5)), "1/2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := times(spread{4.2, 4, 5.12}), "4.20× (4×–5.12×)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFitting(t *testing.T) {
	const gigabyte = 1 << 30
	for name, c := range map[string]struct {
		wanted    int
		available uint64
		want      int
		noted     bool
	}{
		"enough":          {10_000_000, 16 * gigabyte, 10_000_000, false},
		"too little":      {10_000_000, 8 * gigabyte, 1_000_000, true},
		"far too little":  {10_000_000, gigabyte / 2, 100_000, true},
		"nobody tells":    {10_000_000, 0, 1_000_000, true},
		"nobody tells of": {2000, 0, 2000, false},
		"few":             {2000, gigabyte, 2000, false},
	} {
		if n, note := fitting(c.wanted, c.available); n != c.want || (note != "") != c.noted {
			t.Errorf("%s: got %d, %q, want %d, remark %v", name, n, note, c.want, c.noted)
		}
	}
}
