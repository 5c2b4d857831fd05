package store

import "context"

// Stepwise is implemented by stores in which loading a record step by step costs
// little more than loading all of it: requests that ask for no value are spared
// the second step.
type Stepwise interface {
	// LoadHead is Load without parts, into r, which is zero and stays so if the
	// answer is an error.
	LoadHead(ctx context.Context, k Key, r *Record) error

	// LoadPart returns one part of a record that LoadHead or Load has returned.
	// Its sealed bytes are written over b, or to a larger slice if they do not
	// fit. If there is no such part, the answer is the zero one. Errors: ErrConflict if the
	// version, Locked or Limit has changed since, or the session has ended;
	// ErrNotFound, ErrUnavailable.
	LoadPart(ctx context.Context, r *Record, name string, b []byte) (Part, error)
}
