package redisstore

import "strings"

// User agents are long and much alike, and a session would keep a hundred bytes
// of one. So what most of them consist of is written as one byte, below those that
// occur in headers; an agent in which such bytes occur is written as it is, behind
// a zero. The list is part of the format: the n-th piece is written as byte n, and
// none may change or go.
type agents struct {
	pieces  []string // of byte n at n-1
	replace *strings.Replacer
}

func newAgents() (a agents) {
	a.pieces = []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
		"Mozilla/5.0 (iPhone; CPU iPhone OS ",
		"Mozilla/5.0 (iPad; CPU OS ",
		" like Mac OS X) AppleWebKit/",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:",
		"Mozilla/5.0 (X11; Linux x86_64; rv:",
		"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:",
		"Mozilla/5.0 (Android 15; Mobile; rv:",
		"Mozilla/5.0 (Linux; Android ",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X ",
		"Mozilla/5.0 (",
		"605.1.15 (KHTML, like Gecko) ",
		"537.36 (KHTML, like Gecko) ",
		") Gecko/20100101 Firefox/",
		".0.0.0 Mobile Safari/537.36",
		".0.0.0 Safari/537.36",
		" Mobile/15E148 Safari/604.1",
		" Safari/605.1.15",
		") AppleWebKit/",
		"Chrome/",
		"Version/",
		" Safari/537.36",
		"Android ",
		" Build/",
		" Edg/",
		" OPR/",
		".0.0.0",
	}
	var pairs []string
	for i, piece := range a.pieces {
		pairs = append(pairs, piece, string(rune(i+1)))
	}
	a.replace = strings.NewReplacer(pairs...)
	return a
}

// pack returns a short form of an agent.
func (a agents) pack(agent string) string {
	if strings.ContainsFunc(agent, func(r rune) bool { return r < ' ' }) {
		return "\x00" + agent
	}
	return a.replace.Replace(agent)
}

// unpack is the inverse of pack. Bytes that stand for nothing are left as they
// are.
func (a agents) unpack(packed string) string {
	if packed != "" && packed[0] == 0 {
		return packed[1:]
	}
	size := 0
	for i := range len(packed) {
		size += len(a.piece(packed[i : i+1]))
	}
	if size == len(packed) {
		return packed
	}
	b := make([]byte, 0, size)
	for i := range len(packed) {
		b = append(b, a.piece(packed[i:i+1])...)
	}
	return string(b)
}

// piece returns what one byte stands for.
func (a agents) piece(b string) string {
	if n := int(b[0]); n >= 1 && n <= len(a.pieces) {
		return a.pieces[n-1]
	}
	return b
}
