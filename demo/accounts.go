package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Account is somebody who can sign in.
type Account struct {
	Name, Role string
	Password   string // new at every start
}

// maxUsername is longer than any name.
const maxUsername = 64

// accounts knows the passwords, as hashes. They are made anew at every start and
// kept in memory alone: there is nothing to steal from the disk, and sessions
// outlive them all the same.
//
// The hash is bcrypt: of the library's two, it is the one that comes whole (salt,
// encoding, comparison), so that nothing of it is written here; and it needs no
// memory that many logins at once could use up.
type accounts struct {
	all     []Account
	hashes  map[string][]byte // :: name → hash
	decoy   []byte            // a hash whose password nobody knows
	hashing chan struct{}     // holds one for each hash being computed
}

// maxHashing bounds the hashes computed at once, so that a flood of logins does
// not take the processor from everybody else.
const maxHashing = 2

func newAccounts(cost int) (*accounts, error) {
	if cost == 0 {
		cost = bcrypt.DefaultCost
	}
	a := &accounts{
		all: []Account{
			{Name: "alice", Password: newPassword()},
			{Name: "bob", Password: newPassword()},
			{Name: "root", Role: "admin", Password: newPassword()},
		},
		hashes:  make(map[string][]byte),
		hashing: make(chan struct{}, maxHashing),
	}
	// Slow on purpose, so all of them at once. The first one is the decoy.
	passwords := []string{newPassword()}
	for _, account := range a.all {
		passwords = append(passwords, account.Password)
	}
	hashes, err := hashAll(passwords, cost)
	if err != nil {
		return nil, fmt.Errorf("hashing passwords: %w", err)
	}
	a.decoy = hashes[0]
	for i, account := range a.all {
		a.hashes[account.Name] = hashes[i+1]
	}
	return a, nil
}

func hashAll(passwords []string, cost int) ([][]byte, error) {
	hashes, errs := make([][]byte, len(passwords)), make([]error, len(passwords))
	var wg sync.WaitGroup
	for i, password := range passwords {
		wg.Go(func() { hashes[i], errs[i] = bcrypt.GenerateFromPassword([]byte(password), cost) })
	}
	wg.Wait()
	return hashes, errors.Join(errs...)
}

func (a *accounts) list() []Account { return slices.Clone(a.all) }

// known returns the name if somebody has it, and otherwise nothing: people type
// passwords into the wrong field, and those must not be logged.
func (a *accounts) known(name string) string {
	if _, known := a.hashes[name]; known {
		return name
	}
	return ""
}

// check returns the account if the password is right. It takes as long for names
// that nobody has.
func (a *accounts) check(ctx context.Context, name, password string) (Account, bool) {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return Account{}, false
	}
	hash, known := a.hashes[name]
	if !known {
		hash = a.decoy
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !known {
		return Account{}, false
	}
	i := slices.IndexFunc(a.all, func(account Account) bool { return account.Name == name })
	return a.all[i], true
}

// newPassword returns 64 random bits as four words that can be read aloud
// (proquints, arXiv:0901.4016): lusab-babad-gutih-tugad.
func newPassword() string {
	const consonants, vowels = "bdfghjklmnprstvz", "aiou"
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	var words []string
	for i := 0; i < len(random); i += 2 {
		n := uint16(random[i])<<8 | uint16(random[i+1])
		words = append(words, string([]byte{
			consonants[n>>12], vowels[n>>10&3], consonants[n>>6&15], vowels[n>>4&3], consonants[n&15],
		}))
	}
	return strings.Join(words, "-")
}
