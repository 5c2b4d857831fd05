package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress is one line on a terminal that says what is going on. Elsewhere, it
// says nothing.
type progress struct {
	w     io.Writer // nil: not a terminal
	what  string
	shown time.Time
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what}
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	return p
}

// show says how far it is, a few times a second at most.
func (p *progress) show(done, all int) {
	if p.w == nil || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r\033[K%s: %d %%", p.what, 100*done/max(all, 1))
}

// clear takes the line away.
func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
