package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tinyRun is one run over everything, at a scale at which times mean nothing.
type tinyRun struct {
	code           int
	stdout, stderr string
	report         report
}

// runTiny runs it once for all tests.
var runTiny = sync.OnceValues(func() (tinyRun, error) {
	var out, errs strings.Builder
	r := tinyRun{code: run(context.Background(), []string{"--tiny", "--json"}, &out, &errs)}
	r.stdout, r.stderr = out.String(), errs.String()
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.DisallowUnknownFields()
	return r, d.Decode(&r.report)
})

func tinyReport(t *testing.T) tinyRun {
	t.Helper()
	r, err := runTiny()
	if err != nil {
		t.Fatalf("got %v, want a report; stderr: %s", err, r.stderr)
	}
	return r
}

// lineOf returns the line that begins with the text.
func (r report) lineOf(t *testing.T, measure string) line {
	t.Helper()
	i := slices.IndexFunc(r.Lines, func(l line) bool { return l.Measure == measure })
	if i < 0 {
		t.Fatalf("there is no line %q", measure)
	}
	return r.Lines[i]
}

func TestEveryRowIsMeasured(t *testing.T) {
	r := tinyReport(t)
	if r.code != exitReached && r.code != exitMissed {
		t.Errorf("got exit code %d, want %d or %d; stderr: %s", r.code, exitReached, exitMissed, r.stderr)
	}
	if r.stderr != "" {
		t.Errorf("got %q on stderr, want nothing", r.stderr)
	}
	var got, want []string
	for _, l := range r.report.Lines {
		got = append(got, l.Row+": "+l.Measure)
	}
	for _, row := range rows() {
		for _, c := range row.lines {
			want = append(want, row.id+": "+c.measure)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got lines\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNumbersAreSane(t *testing.T) {
	for _, l := range tinyReport(t).report.Lines {
		if len(l.Peers) == 0 {
			t.Errorf("%s: no peers", l.Measure)
		}
		for _, e := range append([]entry{l.Ours}, l.Peers...) {
			for _, v := range []float64{e.Low, e.Median, e.High} {
				if math.IsNaN(v) || v < 0 || v > 1e9 {
					t.Errorf("%s: %s: got %v", l.Measure, e.Name, e.spread)
				}
			}
			if e.Low > e.Median || e.Median > e.High {
				t.Errorf("%s: %s: got quartiles %v, want them in order", l.Measure, e.Name, e.spread)
			}
			// Times as short as those of this scale can be lost in the clock, and
			// nothing is what a server is asked for at best.
			nothing := []string{"µs", "ms", "commands", "statements", "bytes", "%"}
			if e.Median == 0 && !l.Promise && !slices.Contains(nothing, e.Unit) {
				t.Errorf("%s: %s: got nothing, want a cost", l.Measure, e.Name)
			}
			if e.Name == "" || e.Unit == "" || e.Text == "" {
				t.Errorf("%s: got entry %+v, want a name, a unit and a text", l.Measure, e)
			}
		}
		if !strings.HasPrefix(l.Ours.Name, "cloakroom") {
			t.Errorf("%s: got ours %q", l.Measure, l.Ours.Name)
		}
	}
}

// TestOurPromises: these hold on every machine.
func TestOurPromises(t *testing.T) {
	promises := 0
	for _, l := range tinyReport(t).report.Lines {
		if l.Promise {
			promises++
			if !l.Reached {
				t.Errorf("%s: got %s, want %s", l.Measure, l.Ours.Text, l.Goal)
			}
		}
	}
	if promises != 13 {
		t.Errorf("got %d promises, want 13", promises)
	}
}

// TestChecksCanFail: the experiments find what they look for where it is known to
// be, and nothing where it is known not to be.
func TestChecksCanFail(t *testing.T) {
	const all, some, none = "all", "some", "none"
	for measure, peers := range map[string]map[string]string{
		"50 parallel changes to one session that survive, memory": {
			"scs": some, "scs idle": some, "gorilla cookie": some, "gorilla file": some,
		},
		"the same, SQLite": {"scs SQLite": some, "scs idle SQLite": some},
		"logouts undone by a writing request in flight, memory": {
			"scs": all, "scs idle": all, "gorilla cookie": all, "gorilla file": all,
		},
		"logouts undone by a read-only one, memory": {
			"scs": none, "scs idle": all, "gorilla cookie": none, "gorilla file": none,
		},
		"logouts undone by a writing request in flight, SQLite":              {"scs SQLite": all, "scs idle SQLite": all},
		"logouts undone by a read-only one, SQLite":                          {"scs SQLite": none, "scs idle SQLite": all},
		"read-only requests that wrote to the database, besides due touches": {"scs SQLite": none, "scs idle SQLite": all},
	} {
		l := tinyReport(t).report.lineOf(t, measure)
		of := map[bool]float64{true: parallelChanges, false: float64(tiny().peerTrials)}[l.Row == "changes"]
		if l.Row == "sqlite-read" {
			of = float64(tiny().reads)
		}
		got := make(map[string]string)
		for _, p := range l.Peers {
			switch p.Median {
			case 0:
				got[p.Name] = none
			case of:
				got[p.Name] = all
			default:
				got[p.Name] = some
			}
		}
		for name, want := range peers {
			if got[name] != want {
				t.Errorf("%s: %s: got %q, want %s", measure, name, got[name], want)
			}
		}
		if len(got) != len(peers) {
			t.Errorf("%s: got peers %v, want %v", measure, got, peers)
		}
	}
}

// TestEngineChecksCanFail: the same for those with a database server.
func TestEngineChecksCanFail(t *testing.T) {
	for _, e := range engines() {
		for measure, least := range map[string]float64{
			fmt.Sprintf("%s: %s per read-only request", e.name, e.unit):                                    1.5,
			fmt.Sprintf("%s: bytes of %s per read-only request", e.name, e.log):                            1,
			e.name + ": 50 parallel changes to one session that survive":                                   0,
			e.name + ": requests that cause a statement besides their load, 10000/s over 100 000 sessions": 99,
		} {
			if i := slices.IndexFunc(tinyReport(t).report.Lines, func(l line) bool { return l.Measure == measure }); i < 0 {
				continue // not every engine has all of them
			}
			l := tinyReport(t).report.lineOf(t, measure)
			if got := l.Peers[0].Median; got < least || l.Promise && got >= parallelChanges {
				t.Errorf("%s: %s: got %v, want at least %v", measure, l.Peers[0].Name, got, least)
			}
		}
	}
}

func TestJSONSaysWhatAndWhere(t *testing.T) {
	r := tinyReport(t)
	if r.report.Version != 1 || r.report.Scale != "tiny" {
		t.Errorf("got version %d, scale %q, want 1, tiny", r.report.Version, r.report.Scale)
	}
	m := r.report.Machine
	if m.Cores < 1 || !strings.HasPrefix(m.Go, "go1.") || !strings.Contains(m.System, "/") {
		t.Errorf("got machine %+v", m)
	}
	var raw struct {
		Lines []map[string]json.RawMessage `json:"lines"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &raw); err != nil {
		t.Fatal(err)
	}
	for _, l := range raw.Lines {
		for _, key := range []string{"row", "measure", "cloakroom", "peers", "ratio", "ratioText", "goal", "reached", "promise"} {
			if _, found := l[key]; !found {
				t.Errorf("%s: no %q", l["measure"], key)
			}
		}
	}
	if name, err := os.Hostname(); err == nil && len(name) > 2 && strings.Contains(r.stdout, name) {
		t.Errorf("the report names the host %q", name)
	}
}

// fakeRow is a row that comes out as it is told.
func fakeRow(reached, promise bool, err error) row {
	return row{id: "fake", lines: []claim{{measure: "fake", goal: "1", correctness: promise}},
		measure: func(context.Context, *bench) ([]outcome, error) { return []outcome{{reached: reached}}, err }}
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		rows []row
		want int
	}{
		"all reached":            {[]row{fakeRow(true, true, nil), fakeRow(true, false, nil)}, exitReached},
		"a goal missed":          {[]row{fakeRow(true, true, nil), fakeRow(false, false, nil)}, exitMissed},
		"a promise broken":       {[]row{fakeRow(false, false, nil), fakeRow(false, true, nil)}, exitFailed},
		"skipped":                {[]row{fakeRow(true, true, nil), fakeRow(false, true, skipped{"no server"})}, exitReached},
		"a row that fails":       {[]row{fakeRow(true, true, nil), fakeRow(true, true, errors.New("no disk"))}, exitFailed},
		"a failure and a missed": {[]row{fakeRow(false, false, nil), fakeRow(true, true, errors.New("no disk"))}, exitFailed},
		"an outcome is missing":  {[]row{{id: "fake", lines: make([]claim, 2), measure: fakeRow(true, true, nil).measure}}, exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			err := compare(t.Context(), options{tiny: true}, c.rows, io.Discard, io.Discard)
			if got := codeOf(err, true); got != c.want {
				t.Errorf("got exit code %d for %v, want %d", got, err, c.want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown flag":  {"--slow"},
		"an argument":      {"read"},
		"no expression":    {"--only", "("},
		"fits nothing":     {"--only", "nothing"},
		"two output forms": {"--json", "--markdown"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(t, args...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, "--help") {
				t.Errorf("got %d, %q, %q, want %d and where to find help", code, stdout, stderr, exitUsage)
			}
		})
	}
	code, stdout, stderr := command(t, "--help")
	if code != exitReached || stderr != "" {
		t.Errorf("--help: got %d, %q", code, stderr)
	}
	for _, row := range rows() {
		if !strings.Contains(stdout, "\n  "+row.id+" ") {
			t.Errorf("--help does not name the row %s", row.id)
		}
	}
	if strings.Contains(stdout, "tiny") {
		t.Error("--help offers a scale that is for tests")
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs strings.Builder
	if code := run(ctx, []string{"--tiny", "--only", "^read$"}, &out, &errs); code != exitFailed || out.Len() > 0 {
		t.Errorf("got %d, %q, want %d and no table", code, out.String(), exitFailed)
	}
}

func TestOnly(t *testing.T) {
	code, stdout, stderr := command(t, "--tiny", "--markdown", "--only", "^read$")
	if code == exitFailed || code == exitUsage {
		t.Fatalf("got %d, %q", code, stderr)
	}
	if got, want := measuresIn(stdout), measuresOf(readRow()); !slices.Equal(got, want) {
		t.Errorf("got lines %q, want %q", got, want)
	}
}
