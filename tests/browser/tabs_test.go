package browser

import (
	"fmt"
	"maps"
	"sync"
	"testing"
)

// TestTwoTabs adds from two tabs at the same time, as fast as they can, and finds
// every single piece.
func TestTwoTabs(t *testing.T) {
	const each = 8
	for _, c := range []struct{ name, user string }{{"visitor", ""}, {"signed in", "bob"}} {
		t.Run(c.name, func(t *testing.T) {
			s := openShop(t)
			browser := newChromium(t, s)
			left, right := browser.newTab(), browser.newTab()
			if c.user != "" {
				left.visit("/login")
				left.signIn(c.user, s.passwords[c.user])
			}
			// A visitor's first piece makes the session that the tabs share.
			left.visit("/")
			left.add("scarf")
			right.visit("/")

			var wg sync.WaitGroup
			errs := make([]error, 2)
			for i, work := range []struct {
				tab         *tab
				mine, yours string
			}{{left, "hat", "gloves"}, {right, "boots", "gloves"}} {
				wg.Go(func() {
					for n := range each {
						for _, item := range []string{work.mine, work.yours} {
							if err := work.tab.click(addButton(item)); err != nil {
								errs[i] = fmt.Errorf("adding %s, number %d: %w", item, n, err)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]int{"Lambswool scarf": 1, "Felt hat": each, "Rain boots": each, "Leather gloves": 2 * each}
			if got := left.basket(); !maps.Equal(got, want) {
				t.Errorf("got basket %v, want %v", got, want)
			}
		})
	}
}

// basket returns what the basket page shows.
func (tb *tab) basket() map[string]int {
	tb.t.Helper()
	tb.visit("/cart")
	return evaluate[map[string]int](tb, `Object.fromEntries([...document.querySelectorAll('tbody tr')].map(row =>
		[row.querySelector('th span span').firstChild.data.trim(), +row.querySelector('td').textContent]))`)
}
