package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// narrowest is the width that output is made for where nobody says how wide it is.
const narrowest = 80

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	// width is that of the terminal behind out, or 0 if there is none.
	width int
	// asks says that somebody can answer questions, shows that somebody sees err.
	asks, shows bool
	colours     bool
	progressed  time.Time // when progress was shown last
}

// newTerminal finds out what the streams of a command are.
func newTerminal(in io.Reader, out, errs io.Writer) *terminal {
	t := &terminal{in: in, out: out, err: errs}
	_, reads := terminalOf(in)
	_, t.shows = terminalOf(errs)
	t.asks = reads && t.shows
	if f, ok := terminalOf(out); ok {
		t.width = narrowest
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			t.width = width
		}
		t.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return t
}

// terminalOf returns the file behind a stream, and whether it is a terminal.
func terminalOf(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// errDeclined says that whoever was asked did not agree.
var errDeclined = errors.New("nothing was changed")

// confirm asks a question whose answer is a word.
func (t *terminal) confirm(question, word string) error {
	if !t.asks {
		return usageError{fmt.Errorf("%s; add --yes to go on without being asked", question)}
	}
	fmt.Fprintf(t.err, "%s\nType %q to go on: ", question, word)
	answer, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != word {
		return errDeclined
	}
	return nil
}

// progressEvery is how often progress is shown, and after how long first.
const progressEvery = time.Second

// progress says how far long work is, where somebody sees it, on one line that the
// next one overwrites.
func (t *terminal) progress(format string, args ...any) {
	switch now := time.Now(); {
	case !t.shows:
	case t.progressed.IsZero():
		t.progressed = now
	case now.Sub(t.progressed) >= progressEvery:
		t.progressed = now
		fmt.Fprintf(t.err, "\r\x1b[K"+format, args...)
	}
}

// progressOver removes the line of progress.
func (t *terminal) progressOver() {
	if t.shows && !t.progressed.IsZero() {
		fmt.Fprint(t.err, "\r\x1b[K")
	}
	t.progressed = time.Time{}
}

// colour is the number of a terminal's colour.
type colour int

const (
	dim    colour = 2
	bold   colour = 1
	red    colour = 31
	green  colour = 32
	yellow colour = 33
)

func (t *terminal) paint(c colour, text string) string {
	if !t.colours || text == "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
}

// fit cuts a text to a width, or fills it up.
func fit(text string, width int) string {
	n := utf8.RuneCountInString(text)
	if n > width {
		return string([]rune(text)[:max(0, width-1)]) + "…"
	}
	return text + strings.Repeat(" ", width-n)
}

// column is one column of a table.
type column struct {
	title string
	// least is the width that it may be cut to where there is no room; zero means
	// that it is never cut.
	least int
	value func(line) string
	paint func(line) colour // may be nil
}

// table prints lines in columns. On a terminal it is no wider than that; elsewhere
// nothing is cut.
func (t *terminal) table(columns []column, lines []line) error {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = len(c.title)
		for _, l := range lines {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.value(l)))
		}
	}
	if t.width > 0 {
		shrink(columns, widths, t.width)
	}
	var b strings.Builder
	row := func(cell func(c column) (string, colour)) {
		for i, c := range columns {
			text, paint := cell(c)
			text = fit(text, widths[i])
			if i == len(columns)-1 {
				text = strings.TrimRight(text, " ")
			}
			if paint != 0 {
				text = t.paint(paint, text)
			}
			b.WriteString(text)
			if i < len(columns)-1 {
				b.WriteString("  ")
			}
		}
		b.WriteString("\n")
	}
	row(func(c column) (string, colour) { return c.title, bold })
	for _, l := range lines {
		row(func(c column) (string, colour) {
			if c.paint == nil {
				return c.value(l), 0
			}
			return c.value(l), c.paint(l)
		})
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// shrink takes width from the columns that can spare it, the widest first.
func shrink(columns []column, widths []int, room int) {
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > room; total-- {
		widest := -1
		for i, c := range columns {
			if c.least > 0 && widths[i] > max(c.least, len(c.title)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}
