package demo

import "net/http"

// shop shows what there is.
func (s *Shop) shop(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Shop", Data: goods()}
	if r.URL.Query().Has(signedOutParam) {
		p.Notice = "You are signed out. Your ticket is void, here and everywhere else."
	}
	s.show(w, r, http.StatusOK, "shop", p)
}
