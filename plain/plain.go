// Package plain words what came from the network in a way that is fit for people:
// on a terminal, which obeys what it is sent, and on a page.
package plain

import (
	"strings"
	"unicode"
)

// Text replaces what a terminal would obey.
func Text(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, text)
}

// Agent says in our own words which browser a user agent names. It is a courtesy:
// agents say what they like.
func Agent(agent string) string {
	find := func(names ...[2]string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// The order counts: most browsers also claim to be others.
	browser := find([2]string{"Firefox/", "Firefox"}, [2]string{"FxiOS/", "Firefox"}, [2]string{"Edg", "Edge"},
		[2]string{"OPR/", "Opera"}, [2]string{"SamsungBrowser/", "Samsung Internet"}, [2]string{"CriOS/", "Chrome"},
		[2]string{"Chrome/", "Chrome"}, [2]string{"Safari/", "Safari"}, [2]string{"curl/", "curl"},
		[2]string{"Go-http-client/", "Go program"})
	system := find([2]string{"Android", "Android"}, [2]string{"iPhone", "iPhone"}, [2]string{"iPad", "iPad"},
		[2]string{"Windows", "Windows"}, [2]string{"Mac OS X", "macOS"},
		[2]string{"CrOS", "ChromeOS"}, [2]string{"Linux", "Linux"})
	switch {
	case browser == "":
		return "unknown browser"
	case system == "":
		return browser
	}
	return browser + " on " + system
}
