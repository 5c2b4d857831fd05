package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// report is everything that was measured, as --json prints it.
type report struct {
	Version int     `json:"version"`
	Scale   string  `json:"scale"`
	Machine machine `json:"machine"`
	Lines   []line  `json:"lines"`
}

// line is one line of the table.
type line struct {
	Row     string  `json:"row"`
	Engine  bool    `json:"engine,omitempty"` // of the second table
	Measure string  `json:"measure"`
	Ours    entry   `json:"cloakroom"`
	Peers   []entry `json:"peers"`
	Ratio   spread  `json:"ratio"`
	Shown   string  `json:"ratioText"`
	Goal    string  `json:"goal"`
	Reached bool    `json:"reached"`
	// Promise says that the goal does not depend on the machine.
	Promise bool `json:"promise"`
	// Skipped says that this machine lacks what the row needs; the note says what.
	Skipped bool   `json:"skipped,omitempty"`
	Note    string `json:"note,omitempty"`
}

func (r *report) add(of row, c claim, o outcome) {
	if o.peers == nil {
		o.peers = []entry{}
	}
	r.Lines = append(r.Lines, line{
		Row: of.id, Engine: of.engine, Measure: c.measure, Ours: o.ours, Peers: o.peers, Ratio: o.ratio, Shown: o.shown,
		Goal: c.goal, Reached: o.reached, Promise: c.correctness, Note: o.note,
	})
}

// skip adds a line that could not be measured here.
func (r *report) skip(of row, c claim, reason string) {
	r.Lines = append(r.Lines, line{
		Row: of.id, Engine: of.engine, Measure: c.measure, Peers: []entry{}, Goal: c.goal, Promise: c.correctness, Skipped: true, Note: reason,
	})
}

// verdict returns the error that the program ends with.
func (r *report) verdict() error {
	broken, missed := 0, 0
	for _, l := range r.Lines {
		switch {
		case l.Reached, l.Skipped:
		case l.Promise:
			broken++
		default:
			missed++
		}
	}
	switch {
	case broken > 0:
		return exitError{exitFailed, fmt.Sprintf("broken promises: %d", broken)}
	case missed > 0:
		return exitError{exitMissed, ""}
	}
	return nil
}

// print prints the report in the form that was asked for.
func (r *report) print(o options, w io.Writer) error {
	switch {
	case o.json:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case o.markdown:
		_, err := io.WriteString(w, r.markdown())
		return err
	}
	_, err := io.WriteString(w, r.table())
	return err
}

// state is the last word of a line.
func (l line) state() string {
	switch {
	case l.Skipped:
		return "skipped"
	case l.Goal == "":
		return ""
	case l.Reached:
		return "reached"
	case l.Promise:
		return "BROKEN"
	}
	return "missed"
}
