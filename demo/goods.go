package demo

import "strconv"

// good is something the shop sells.
type good struct {
	ID    string // also the name of its drawing, static/ID.svg
	Name  string
	About string
	Euros int
}

// goods returns all that hangs in the shop.
func goods() []good {
	return []good{
		{"overcoat", "Camel overcoat", "Heavy, warm, and patient with waiting rooms.", 340},
		{"umbrella", "Stick umbrella", "Eight ribs and a handle of cherry wood.", 68},
		{"hat", "Felt hat", "Blocked by hand. Tips itself, almost.", 95},
		{"duffle", "Duffle coat", "Hood, toggles, and pockets for both hands.", 290},
		{"scarf", "Lambswool scarf", "Goes round twice, with some left to wave.", 54},
		{"boots", "Rain boots", "For people who walk through, not around.", 72},
		{"gloves", "Leather gloves", "Sold in pairs, lost one by one.", 61},
		{"beret", "Wool beret", "Wear it straight, if you must.", 39},
	}
}

// goodByID returns the good of that name, if the shop has it.
func goodByID(id string) (good, bool) {
	for _, g := range goods() {
		if g.ID == id {
			return g, true
		}
	}
	return good{}, false
}

// price writes an amount as people read it: €1,204.
func price(euros int) string {
	digits := strconv.Itoa(euros)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return "€" + digits
}
