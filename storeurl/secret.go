package storeurl

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// hidden stands for a password.
const hidden = "***"

// Redacted returns a URL as it can be shown: without its password and, if it
// cannot be taken apart, without anything but its beginning.
func Redacted(text string) string {
	a, err := parse(text)
	if err != nil {
		if name, _, found := strings.Cut(text, ":"); found && schemePattern.MatchString(name) {
			if _, known := schemes()[strings.ToLower(name)]; known {
				return strings.ToLower(name) + ":" + hidden
			}
		}
		return hidden
	}
	if !a.secret {
		return text
	}
	// Exactly one @ stands before the hosts, and the first colon after the slashes
	// ends the user's name.
	before, after, _ := strings.Cut(text, "@")
	begin, info, _ := strings.Cut(before, "//")
	user, _, _ := strings.Cut(info, ":")
	return begin + "//" + user + ":" + hidden + "@" + after
}

// PasswordVariable is the environment variable that holds the password of a store
// whose URL has none.
const PasswordVariable = "CLOAKROOM_STORE_PASSWORD"

// findPassword completes the address with a password that is not in the URL.
func (a *address) findPassword(getenv func(string) string) (err error) {
	file := a.options["password-file"]
	switch {
	case a.secret && file != "":
		return errors.New("storeurl: there is a password in the URL and one in password-file; one of them is too much")
	case a.secret:
	case file != "":
		a.password, err = readSecret("password-file", file)
		a.secret = err == nil
	case getenv(PasswordVariable) != "" && a.engine != SQLite && a.engine != Memory:
		a.password, a.secret = getenv(PasswordVariable), true
	}
	if file := a.options["sentinel-password-file"]; file != "" && err == nil {
		a.sentinelPassword, err = readSecret("sentinel-password-file", file)
	}
	return err
}

// maxSecret bounds what is read of a file that was named by mistake.
const maxSecret = 4 << 10

// readSecret returns the only line of a file.
func readSecret(option, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("storeurl: reading %s: %w", option, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("storeurl: reading %s: %w", option, err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" || len(text) > maxSecret || strings.ContainsAny(secret, "\x00\n") {
		return "", fmt.Errorf("storeurl: reading %s: %s does not hold one line with a password", option, file)
	}
	return secret, nil
}

// shortSecret is the longest password that is not looked for in other texts: it
// would be found where it is not meant, and shown by what is missing.
const shortSecret = 4

// scrubber removes passwords from errors. We give them to drivers in fields of
// their own, so that there should be nothing to remove: this is for the day when a
// driver writes its configuration into an error all the same.
type scrubber []string

// newScrubber returns a scrubber for the passwords that are not part of what is
// shown anyway, such as the name of a user who is his own password.
func newScrubber(shown string, secrets ...string) (s scrubber) {
	for _, secret := range secrets {
		quoted := fmt.Sprintf("%q", secret)
		for _, form := range []string{secret, url.PathEscape(secret), url.QueryEscape(secret), url.UserPassword("", secret).String()[1:], quoted[1 : len(quoted)-1]} {
			if len(secret) > shortSecret && !strings.Contains(shown, form) {
				s = append(s, form)
			}
		}
	}
	return s
}

// clean returns an error whose text holds no password, and which can be told by
// [errors.Is] as the one given, but not unwrapped.
func (s scrubber) clean(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return &cleaned{text, err}
}

type cleaned struct {
	text  string
	cause error
}

func (e *cleaned) Error() string        { return e.text }
func (e *cleaned) Is(target error) bool { return errors.Is(e.cause, target) }

// Format keeps the cause from being printed, whatever the verb.
func (e *cleaned) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.text) }
