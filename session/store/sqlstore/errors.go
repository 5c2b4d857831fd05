package sqlstore

import (
	"errors"
	"fmt"

	"cloakroom.example/session/store"
)

var (
	errClosed  = errors.New("store is closed")
	errTooLate = errors.New("the caller's context ended while the operation was being written")
)

// contractual reports whether the error is one that the contract names, or says
// that the row or the call is at fault, rather than the database.
func contractual(err error) bool {
	for _, named := range []error{
		store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrLimit, store.ErrRevoked,
		store.ErrUnavailable, store.ErrUnknownOutcome, store.ErrFormat,
	} {
		if errors.Is(err, named) {
			return true
		}
	}
	return false
}

// worded turns an error of an operation into the one that the caller gets.
func worded(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case contractual(err):
		return fmt.Errorf("sqlstore: %s: %w", doing, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", doing, unavailable(err))
}

// unavailable says that nothing was read or changed, and why.
func unavailable(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// unknown says that a write may or may not have happened, and why.
func unknown(err error) error {
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
}
