package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// Swap implements [store.Store]. It is one round trip: the script compares the
// version and keeps what may only be tightened, and the digest shows that the
// rest of what the caller holds is what was stored.
func (s *Store) Swap(ctx context.Context, r store.Record, now time.Time) error {
	if err := s.swap(ctx, r, now); err != nil {
		return fmt.Errorf("changing session %v: %w", r.Handle, err)
	}
	return nil
}

func (s *Store) swap(ctx context.Context, r store.Record, now time.Time) error {
	if err := checkSizes(r.Parts); err != nil {
		return err
	}
	keys, b := s.keys(r.Namespace), bucketOf(r.Handle)
	to := r
	to.Version++
	to.End = store.End{}
	args := []string{
		string(binary.AppendUvarint(nil, r.Version)), timeString(now), string(binary.BigEndian.AppendUint32(nil, digestOf(&r))),
		string(s.agents.appendHead(nil, &to)), millis(keepTime, true), "",
	}
	for _, p := range r.Parts {
		part := ""
		if p.Sealed != nil {
			part = string(appendPart(nil, p))
		}
		args = append(args, p.Name, part)
	}
	c := call{&s.scripts.swap, b, []string{
		keys.of(kindRecord, r.Handle), keys.in(kindEpoch, b, ""), keys.of(kindNotice, r.Handle),
	}, args}
	m, err := s.run(ctx, c)
	if err == nil && text(m) == "due" {
		if err = s.prolong(ctx, r.Namespace, []store.Handle{r.Handle}); err == nil {
			args[5] = "prolonged"
			m, err = s.run(ctx, c)
		}
	}
	if err != nil {
		return err
	}
	switch text(m) {
	case "ok":
		return nil
	case "gone":
		return store.ErrNotFound
	case "conflict":
		return store.ErrConflict
	case "epoch", "differs":
		return s.swapRead(ctx, r, now)
	case "format":
		return store.ErrFormat
	}
	return errReply
}

// swapRead is Swap for the rare cases that need more than a script can know:
// everything was revoked since the session was created, or the caller would
// change what cannot be changed.
func (s *Store) swapRead(ctx context.Context, r store.Record, now time.Time) error {
	for {
		f, err := s.find(ctx, r.Namespace, r.Handle)
		switch {
		case err != nil:
			return err
		case !f.Alive(now):
			return store.ErrNotFound
		case f.Version != r.Version:
			return store.ErrConflict
		}
		if err := f.load(nil, true); err != nil {
			return err
		}
		parts := f.Record.Parts
		for _, p := range r.Parts {
			parts = store.ChangePart(parts, p)
		}
		f.setParts(parts)
		if err := s.prolong(ctx, r.Namespace, []store.Handle{r.Handle}); err != nil {
			return err
		}
		f.Change(&r)
		if done, err := s.replaceValue(ctx, &f, lifetime(&f.Record, now)); err != nil || done {
			return err
		}
	}
}

// isAbsent reports whether a session cannot be read because it is not there, or
// not a session.
func isAbsent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFormat)
}
