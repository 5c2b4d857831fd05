package main

import (
	"encoding/json"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// newJSON returns an encoder whose output is JSON of which a terminal obeys nothing:
// what came from the network may hold more control characters than JSON forbids.
func newJSON(w io.Writer) *json.Encoder { return json.NewEncoder(legible{w}) }

// legible escapes what cannot be printed. Outside of strings, JSON has nothing of
// that but line ends.
type legible struct{ w io.Writer }

// Write implements [io.Writer] for whole lines.
func (l legible) Write(line []byte) (int, error) {
	var b strings.Builder
	for _, c := range string(line) {
		if c == '\n' || unicode.IsPrint(c) {
			b.WriteRune(c)
			continue
		}
		for _, unit := range utf16.Encode([]rune{c}) {
			const digits = "0123456789abcdef"
			b.Write([]byte{'\\', 'u', digits[unit>>12], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15]})
		}
	}
	if _, err := io.WriteString(l.w, b.String()); err != nil {
		return 0, err
	}
	return len(line), nil
}
