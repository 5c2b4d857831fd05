package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	measureWidth = 40
	columnGap    = "  "
)

// table is the report for a terminal. A cell may have several lines: long names
// are folded, and each peer has its own.
func (r *report) table() string {
	lines := [][][]string{{{"measure"}, {"cloakroom"}, {"peers"}, {"ratio"}, {"goal"}, {""}}}
	var notes []string
	for _, l := range r.Lines {
		var peers []string
		for _, p := range l.Peers {
			peers = append(peers, p.Name+" "+p.Text)
		}
		state := l.state()
		if l.Note != "" {
			at := slices.Index(notes, l.Note)
			if at < 0 {
				at, notes = len(notes), append(notes, l.Note)
			}
			state += fmt.Sprintf(" (%d)", at+1)
		}
		lines = append(lines, [][]string{
			fold(l.Measure, measureWidth), {l.Ours.Text}, peers, {l.Shown}, {l.Goal}, {state},
		})
	}
	out := layOut(lines) + "\n"
	for i, note := range notes {
		out += fmt.Sprintf("%d  %s\n", i+1, note)
	}
	return out + r.Machine.String() + "; scale " + r.Scale + "\n"
}

// layOut aligns the columns.
func layOut(lines [][][]string) string {
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, cell := range cells {
			for _, text := range cell {
				widths[i] = max(widths[i], utf8.RuneCountInString(text))
			}
		}
	}
	var b strings.Builder
	for _, cells := range lines {
		for n := range tallest(cells) {
			var out strings.Builder
			for i, cell := range cells {
				text := ""
				if n < len(cell) {
					text = cell[n]
				}
				out.WriteString(text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)) + columnGap)
			}
			b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
		}
	}
	return b.String()
}

func tallest(cells [][]string) (n int) {
	for _, cell := range cells {
		n = max(n, len(cell))
	}
	return n
}

// fold breaks a text between words.
func fold(text string, width int) (lines []string) {
	current := ""
	for _, word := range strings.Fields(text) {
		if current != "" && utf8.RuneCountInString(current)+1+utf8.RuneCountInString(word) > width {
			lines, current = append(lines, current), ""
		}
		current = strings.TrimLeft(current+" "+word, " ")
	}
	return append(lines, current)
}

// markdown is the report for the README: a table of the rows that need nothing, and
// one of those that need a database server.
func (r *report) markdown() string {
	var own, engine []line
	for _, l := range r.Lines {
		if l.Engine {
			engine = append(engine, l)
		} else {
			own = append(own, l)
		}
	}
	var tables []string
	for _, lines := range [][]line{own, engine} {
		if len(lines) > 0 {
			tables = append(tables, markdownTable(lines))
		}
	}
	return strings.Join(tables, "\n") + "\n" + r.Machine.String() + "; scale " + r.Scale + ".\n"
}

// markdownTable is one table, with its notes under it.
func markdownTable(lines []line) string {
	var b strings.Builder
	b.WriteString("| measure | cloakroom | peers | ratio | goal | |\n|---|--:|---|---|---|---|\n")
	notes := ""
	for _, l := range lines {
		peers := make([]string, len(l.Peers))
		for i, p := range l.Peers {
			peers[i] = p.Name + " " + p.Text
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n",
			l.Measure, l.Ours.Text, strings.Join(peers, "<br>"), l.Shown, l.Goal, l.state())
		if l.Note != "" {
			notes += fmt.Sprintf("\n%s: %s.\n", l.Measure, l.Note)
		}
	}
	return b.String() + notes
}
