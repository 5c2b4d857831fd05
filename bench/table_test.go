package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// measuresIn returns the first column of a Markdown table.
func measuresIn(markdown string) (out []string) {
	for line := range strings.Lines(markdown) {
		cells := strings.Split(line, "|")
		if len(cells) > 2 && !strings.HasPrefix(cells[1], "---") && strings.TrimSpace(cells[1]) != "measure" {
			out = append(out, strings.TrimSpace(cells[1]))
		}
	}
	return out
}

func measuresOf(all ...row) (out []string) {
	for _, r := range all {
		for _, c := range r.lines {
			out = append(out, c.measure)
		}
	}
	return out
}

// between returns what is between the first two comments with the name.
func between(text, name string) (string, bool) {
	parts := strings.SplitN(text, name+" -->", 3)
	if len(parts) != 3 {
		return "", false
	}
	return parts[1], true
}

// TestREADME: the tables in the READMEs have the lines that the program has today.
func TestREADME(t *testing.T) {
	for _, c := range []struct {
		file, name string
		rows       []row
	}{{"../README.md", "bench", ownRows()}, {"README.md", "engines", engineRows()}} {
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		table, found := between(string(text), c.name)
		if !found {
			t.Errorf("%s has no table between <!-- %s --> and <!-- /%[2]s -->; make it with go run ./bench --markdown", c.file, c.name)
			continue
		}
		if got, want := measuresIn(table), measuresOf(c.rows...); !slices.Equal(got, want) {
			t.Errorf("between <!-- %s -->, %s has the lines\n  %s\nwant\n  %s", c.name, c.file, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

func TestBetween(t *testing.T) {
	for text, want := range map[string]string{
		"a <!-- bench -->\n| x | y |\n<!-- /bench --> b": "\n| x | y |\n<!-- /",
		"a <!-- bench --> b <!-- bench --> c":            " b <!-- ",
		"<!-- other --> <!-- bench -->b<!-- /bench -->":  "b<!-- /",
		"a <!-- bench --> b":                             "",
		"a":                                              "",
	} {
		if got, found := between(text, "bench"); got != want || found != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, found, want)
		}
	}
}

// sample has a line of each kind.
func sample() report {
	return report{Scale: "full", Machine: machine{System: "linux/amd64", Cores: 2, Go: "go1.26"}, Lines: []line{
		{
			Measure: "a request that reads, and whose name is long: session cost",
			Ours:    entry{Text: "1.5 µs"}, Peers: []entry{{Name: "scs", Text: "16 µs"}, {Name: "gorilla", Text: "30 µs"}},
			Shown: "1/11", Goal: "≤ 1/10", Reached: true,
		},
		{Measure: "short", Ours: entry{Text: "3 ms"}, Goal: "≤ 2 ms", Note: "a noisy machine"},
		{Measure: "changes", Ours: entry{Text: "49 of 50"}, Goal: "50 of 50", Promise: true},
		{Measure: "for your information", Ours: entry{Text: "1.3×"}, Reached: true},
		{Measure: "commands", Engine: true, Ours: entry{Text: "1"}, Goal: "1", Reached: true},
		{Measure: "statements", Engine: true, Goal: "1", Skipped: true, Note: "there is no server"},
	}}
}

func TestTable(t *testing.T) {
	r := sample()
	want := `measure                                 cloakroom  peers          ratio  goal
a request that reads, and whose name is  1.5 µs     scs 16 µs      1/11   ≤ 1/10    reached
long: session cost                                  gorilla 30 µs
short                                    3 ms                             ≤ 2 ms    missed (1)
changes                                  49 of 50                         50 of 50  BROKEN
for your information                     1.3×
commands                                 1                                1         reached
statements                                                                1         skipped (2)

1  a noisy machine
2  there is no server
2 cores, linux/amd64, go1.26; scale full
`
	want = strings.Replace(want, "measure                                 cloakroom", "measure                                  cloakroom", 1)
	if got := r.table(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	r := sample()
	want := `| measure | cloakroom | peers | ratio | goal | |
|---|--:|---|---|---|---|
| a request that reads, and whose name is long: session cost | 1.5 µs | scs 16 µs<br>gorilla 30 µs | 1/11 | ≤ 1/10 | reached |
| short | 3 ms |  |  | ≤ 2 ms | missed |
| changes | 49 of 50 |  |  | 50 of 50 | BROKEN |
| for your information | 1.3× |  |  |  |  |

short: a noisy machine.

| measure | cloakroom | peers | ratio | goal | |
|---|--:|---|---|---|---|
| commands | 1 |  |  | 1 | reached |
| statements |  |  |  | 1 | skipped |

statements: there is no server.

2 cores, linux/amd64, go1.26; scale full.
`
	if got := r.markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
