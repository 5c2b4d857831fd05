package demo

import (
	"bytes"
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
	Password   string // new at every start; empty once its owner has changed it
}

// maxUsername is longer than any name.
const maxUsername = 64

// maxPassword is how much of a password bcrypt looks at.
const maxPassword = 72

// accounts knows the passwords, as hashes. They are made anew at every start and
// kept in memory alone: there is nothing to steal from the disk, and sessions
// outlive them all the same.
//
// The hash is bcrypt: of the library's two, it is the one that comes whole (salt,
// encoding, comparison), so that nothing of it is written here; and it needs no
// memory that many logins at once could use up.
type accounts struct {
	cost    int
	decoy   []byte        // a hash whose password nobody knows
	hashing chan struct{} // holds one for each hash being computed

	mu      sync.RWMutex
	all     []Account
	hashes  map[string][]byte  // :: name → hash
	factors map[string]*factor // :: name → second factor, if there is one
}

// maxHashing bounds the hashes computed at once, so that a flood of logins does
// not take the processor from everybody else.
const maxHashing = 2

func newAccounts(cost int) (*accounts, error) {
	if cost == 0 {
		cost = bcrypt.DefaultCost
	}
	a := &accounts{
		cost: cost,
		all: []Account{
			{Name: "alice", Password: newPassword()},
			{Name: "bob", Password: newPassword()},
			{Name: "root", Role: "admin", Password: newPassword()},
		},
		hashes:  make(map[string][]byte),
		factors: make(map[string]*factor),
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

func (a *accounts) list() []Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.all)
}

// known returns the name if somebody has it, and otherwise nothing: people type
// passwords into the wrong field, and those must not be logged.
func (a *accounts) known(name string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if _, known := a.hashes[name]; known {
		return name
	}
	return ""
}

// check returns the account if the password is right.
func (a *accounts) check(ctx context.Context, name, password string) (Account, bool) {
	if _, ok := a.verify(ctx, name, password); !ok {
		return Account{}, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.all[a.indexLocked(name)], true
}

// find returns the account of a name.
func (a *accounts) find(name string) (Account, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if i := a.indexLocked(name); i >= 0 {
		return a.all[i], true
	}
	return Account{}, false
}

func (a *accounts) indexLocked(name string) int {
	return slices.IndexFunc(a.all, func(account Account) bool { return account.Name == name })
}

// verify returns the hash of the account's password if that is right. It takes as
// long for names that nobody has.
func (a *accounts) verify(ctx context.Context, name, password string) (hash []byte, ok bool) {
	done, err := a.turn(ctx)
	if err != nil {
		return nil, false
	}
	defer done()
	a.mu.RLock()
	hash, ok = a.hashes[name]
	a.mu.RUnlock()
	if !ok || len(password) > maxPassword { // of more, bcrypt would ignore the rest
		hash, ok = a.decoy, false
	}
	return hash, bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && ok
}

// hash returns the hash of a new password.
func (a *accounts) hash(ctx context.Context, password string) ([]byte, error) {
	done, err := a.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), a.cost)
	if err != nil {
		return nil, fmt.Errorf("hashing password: %w", err)
	}
	return hash, nil
}

// turn waits until a hash may be computed, and returns what to call afterwards.
func (a *accounts) turn(ctx context.Context) (done func(), err error) {
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to hash: %w", ctx.Err())
	}
}

// replace gives an account another password, unless somebody has done so since
// the old hash was verified.
func (a *accounts) replace(name string, old, hash []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !bytes.Equal(a.hashes[name], old) {
		return false
	}
	a.hashes[name] = hash
	a.all[a.indexLocked(name)].Password = ""
	return true
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
