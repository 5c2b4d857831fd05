package demo

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keySize is the least that [session.Config.Keys] accepts.
const keySize = 32

// Key returns the key that sessions are sealed under, from the folder, where it
// is made at first and readable for the owner only. It keeps those who can write
// to the database from making up sessions; a real shop keeps it elsewhere than
// its database.
func Key(dir string) ([]byte, error) {
	file := filepath.Join(dir, "session.key")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(file); err != nil {
			return nil, fmt.Errorf("making the session key: %w", err)
		}
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the session key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keySize {
		// The text must not be in the error.
		return nil, fmt.Errorf("reading the session key: %s is not %d bytes in hexadecimal", file, keySize)
	}
	return key, nil
}

// makeKey makes the file, unless another process was faster.
func makeKey(file string) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	made, err := newFile(filepath.Dir(file), []byte(hex.EncodeToString(key)+"\n"))
	if err != nil {
		return err
	}
	defer os.Remove(made)
	// A link, because renaming would replace the key of the faster one.
	if err := os.Link(made, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
