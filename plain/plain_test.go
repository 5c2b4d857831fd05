package plain_test

import (
	"testing"

	"cloakroom.example/plain"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"words", "Grüße, 你好", "Grüße, 你好"},
		{"colour", "\x1b[31mred", "?[31mred"},
		{"new line", "alice\nroot signed in", "alice?root signed in"},
		{"right to left", "a\u202eb", "a?b"},
		{"broken", "a\xffb", "a\ufffdb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plain.Text(c.text); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAgent(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                           "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0":            "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36":     "Samsung Internet on Android",
		"curl/8.5.0":       "curl",
		"\x1b[31mred":      "unknown browser",
		"":                 "unknown browser",
		"something Chrome": "unknown browser",
	} {
		if got := plain.Agent(agent); got != want {
			t.Errorf("%q: got %q, want %q", agent, got, want)
		}
	}
}
