package sqlstore

import (
	"database/sql/driver"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Some products take as text nothing but UTF-8 without NUL, whereas a subject may
// be any bytes. What does not fit is stored as escapeMark and its bytes in
// hexadecimal; so is what begins with the mark itself, so that different texts
// stay different, and what contains textSeparator, which joins some. All others
// are stored as they are, for people to read.
const (
	escapeMark    = "\x1b"
	textSeparator = "\x1f"
)

// escaped are texts that were escaped before they became arguments.
type escaped []string

func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\x00"+textSeparator) && !strings.HasPrefix(s, escapeMark) {
		return s
	}
	return escapeMark + hex.EncodeToString([]byte(s))
}

func escapeAll(texts []string) []string {
	all := make([]string, len(texts))
	for i, s := range texts {
		all[i] = escape(s)
	}
	return all
}

// unescape is the inverse of escape. What escape cannot have written, because
// somebody edited it, stays as it is.
func unescape(s string) string {
	if !strings.HasPrefix(s, escapeMark) {
		return s
	}
	b, err := hex.DecodeString(s[len(escapeMark):])
	if err != nil {
		return s
	}
	return string(b)
}

// unescapeAll unescapes the texts among the values of a row.
func unescapeAll(values []driver.Value) {
	for i := range values {
		if s, ok := values[i].(string); ok && strings.HasPrefix(s, escapeMark) {
			values[i] = unescape(s)
		}
	}
}
