// Package accounts knows who may sign in to the examples: alice, whose password
// is coat, and bob, whose password is hat.
package accounts

import "golang.org/x/crypto/bcrypt"

// Check reports whether the password is that of the user. Unknown users take as
// long as wrong passwords. A real application also limits the attempts.
func Check(user, password string) bool {
	hash, known := map[string]string{
		"alice": "$2a$10$H/0jluUhoEbjSXyxWrS1z.Lsvnq/MEXgTcN7.foy5LtBMq/XxV1FS",
		"bob":   "$2a$10$8Fq7IxLkF1XxwP.G5Z1VR.pC.V5TZTk5FwTRk1A/NKc0zg59rTlq2",
	}[user]
	if !known {
		hash = "$2a$10$MmwbQYQtK19gVGgrYJimP.RtANydimOOU62XgEvI2m7s0qPgBsvT6" // of no password that is in use
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && known
}
