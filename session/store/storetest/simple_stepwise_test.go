package storetest_test

import (
	"context"

	"cloakroom.example/session/store"
)

func (s *simple) LoadHead(ctx context.Context, k store.Key, r *store.Record) error {
	head, err := s.Load(ctx, k, nil)
	if err == nil {
		*r = head
	}
	return err
}

func (s *simple) LoadPart(ctx context.Context, r *store.Record, name string, b []byte) (store.Part, error) {
	is, err := s.Load(ctx, r.Key(), []string{name})
	if err != nil {
		return store.Part{}, err
	}
	same := is.Version == r.Version && is.Locked == r.Locked && is.Limit.Equal(r.Limit) && !is.Ended()
	if !same && !s.is("part of whatever is there") {
		return store.Part{}, store.ErrConflict
	}
	if len(is.Parts) == 0 {
		return store.Part{}, nil
	}
	p := is.Parts[0]
	if !s.is("part added to what was there") {
		b = b[:0]
	}
	p.Sealed = append(b, p.Sealed...)
	return p, nil
}
