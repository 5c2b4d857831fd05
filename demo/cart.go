package demo

import (
	"errors"
	"net/http"

	"cloakroom.example/session"
)

// basket is what somebody wants to buy. It moves along when a visitor signs in.
var basket = session.NewKey[basketV1]("basket", session.CarryOver)

// basketV1 is stored in sessions: fields may be added, not changed.
type basketV1 struct {
	Lines []basketLine `json:"lines"`
}

type basketLine struct {
	Item string `json:"item"`
	Many int    `json:"many"`
}

// maxMany is how many of one thing the shop sells at once.
const maxMany = 999

var errTooMany = errors.New("demo: too many of one thing")

// add puts one more of the item into the basket.
func (b *basketV1) add(item string) error {
	for i := range b.Lines {
		if b.Lines[i].Item == item {
			if b.Lines[i].Many >= maxMany {
				return errTooMany
			}
			b.Lines[i].Many++
			return nil
		}
	}
	b.Lines = append(b.Lines, basketLine{Item: item, Many: 1})
	return nil
}

// pieces counts what is in the basket.
func pieces(s *session.Session) (n int) {
	b, _ := basket.Get(s)
	for _, line := range b.Lines {
		n += line.Many
	}
	return n
}

// cartLine is one line of the basket page.
type cartLine struct {
	Good good
	Many int
	Sum  int
}

// cart shows the basket.
func (s *Shop) cart(w http.ResponseWriter, r *http.Request) {
	b, _, err := basket.Lookup(session.From(r.Context()))
	if err != nil && !errors.Is(err, session.ErrEnded) { // then there is none
		s.denied(w, r, err)
		return
	}
	var data struct {
		Lines []cartLine
		Total int
	}
	for _, line := range b.Lines {
		g, known := goodByID(line.Item)
		if !known {
			continue // an earlier version of the shop sold it
		}
		data.Lines = append(data.Lines, cartLine{Good: g, Many: line.Many, Sum: line.Many * g.Euros})
		data.Total += line.Many * g.Euros
	}
	s.show(w, r, http.StatusOK, "cart", page{Title: "Basket", Data: data})
}

// addToCart puts one item into the basket and shows the shop again.
func (s *Shop) addToCart(w http.ResponseWriter, r *http.Request) {
	g, known := goodByID(r.PostFormValue("item"))
	if !known {
		s.problem(w, http.StatusBadRequest, "We have no such thing",
			"What you asked for does not hang in this shop. Nothing was put into your basket.")
		return
	}
	current := session.From(r.Context())
	// Update, not Get and Set: what other tabs add at the same time is kept.
	err := basket.Update(r.Context(), current, func(b *basketV1) error { return b.add(g.ID) })
	if errors.Is(err, errTooMany) {
		s.problem(w, http.StatusBadRequest, "That is all we have",
			"There are no more of these: your basket holds every one of them.")
		return
	}
	if err == nil {
		err = notice.Set(current, g.Name+" added to your basket.")
	}
	if err != nil {
		s.denied(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
