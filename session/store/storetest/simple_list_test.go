package storetest_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

func (s *simple) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	if err := s.cut(ctx); err != nil {
		return page, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q.Now = s.now(q.Now)
	wanted := slices.DeleteFunc(s.all(q.Namespace), func(r store.Record) bool {
		if s.is("list forgets links") {
			q.Link = store.Link{}
		}
		return !q.Wants(&r)
	})
	if s.is("cursor is an offset") {
		var from int
		if _, err := fmt.Sscan(cmp.Or(q.Cursor, "0"), &from); err != nil {
			return page, err
		}
		wanted = wanted[min(from, len(wanted)):]
		page.Next = fmt.Sprint(from + q.PageSize())
	} else if q.Cursor != "" {
		after, err := store.ParseHandle(q.Cursor)
		if err != nil && !s.is("any cursor will do") {
			return page, errors.New("listing: not a cursor")
		}
		i, found := slices.BinarySearchFunc(wanted, after, func(r store.Record, h store.Handle) int { return bytes.Compare(r.Handle[:], h[:]) })
		if found && !s.is("page borders listed twice") {
			i++
		}
		if s.is("page borders left out") {
			i = min(i+1, len(wanted))
		}
		wanted = wanted[i:]
	}
	if len(wanted) <= q.PageSize() {
		page.Next = ""
		page.Records = bare(wanted)
		return page, nil
	}
	page.Records = bare(wanted[:q.PageSize()])
	if page.Next == "" {
		page.Next = page.Records[len(page.Records)-1].Handle.String()
	}
	return page, nil
}

// bare takes the parts out.
func bare(rs []store.Record) []store.Record {
	for i := range rs {
		rs[i].Parts = nil
	}
	return rs
}

func (s *simple) Count(ctx context.Context, q store.Query) (int, error) {
	q.Cursor, q.Max = "", 1<<30
	if s.is("count includes the ended") {
		q.Ended = true
	}
	page, err := s.List(ctx, q)
	return len(page.Records), err
}

func (s *simple) Sweep(ctx context.Context, w store.Sweeping) (swept store.Swept, err error) {
	if err := s.cut(ctx); err != nil {
		return swept, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before, most := w.Limits()
	w.Now = s.now(w.Now)
	found := s.all(w.Namespace)
	s.window("sweep reads, then ends")
	for _, r := range found {
		cause, expired := r.Expired(w.Now)
		switch {
		case r.Ended() && (r.End.At.Before(before) || s.is("sweep removes tombstones at once")) && !s.is("tombstones stay for ever"):
			if swept.Removed == most {
				swept.More = true
				continue
			}
			delete(s.rows, s.key(r.Key()))
			swept.Removed++
		case !r.Ended() && expired:
			if len(swept.Expired) == most && !s.is("sweep is not bounded") {
				swept.More = !s.is("sweep says it is done")
				continue
			}
			r.Finish(store.End{At: w.Now, Cause: cause})
			s.put(r)
			swept.Expired = append(swept.Expired, r)
		}
	}
	return swept, nil
}
