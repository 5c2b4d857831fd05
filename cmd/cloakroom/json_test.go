package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestJSON: JSON says the same, whatever it holds, and a terminal obeys none of it.
func TestJSON(t *testing.T) {
	for _, text := range []string{"Grüße, 你好", "\x1b[31mred", "\u009b31mred", "\x7f", "a\u202eb", "\U000e0001", "a\nb"} {
		var out bytes.Buffer
		if err := newJSON(&out).Encode(line{Agent: text}); err != nil {
			t.Fatal(err)
		}
		printed, ended := strings.CutSuffix(out.String(), "\n")
		if !ended || strings.ContainsFunc(printed, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Errorf("%q: got %q, want one line of what can be printed", text, out.String())
		}
		var back line
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Agent != text {
			t.Errorf("%q: got back %q, %v", text, back.Agent, err)
		}
	}
}
