package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

// List implements [store.Store]. Lists of a subject or link are ordered by
// handle, others by place.
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	if err := unavailable(ctx); err != nil {
		return store.Page{}, err
	}
	sp := s.existing(q.Namespace)
	if sp == nil {
		return store.Page{}, nil
	}
	switch {
	case q.Subject != "":
		return sp.listKey(sp.subjectKey(q.Subject), q)
	case q.Link != (store.Link{}):
		return sp.listKey(sp.linkKey(q.Link), q)
	}
	return sp.listAll(q)
}

// Count implements [store.Counter].
func (s *Store) Count(ctx context.Context, q store.Query) (int, error) {
	n := 0
	for q.Cursor, q.Max = "", 1000; ; {
		page, err := s.List(ctx, q)
		if err != nil {
			return 0, err
		}
		n += len(page.Records)
		if page.Next == "" {
			return n, nil
		}
		q.Cursor = page.Next
	}
}

// EstimateAnonymous implements [store.Estimator].
func (s *Store) EstimateAnonymous(ctx context.Context, namespace string) (int, error) {
	if err := unavailable(ctx); err != nil {
		return 0, err
	}
	n := 0
	if sp := s.existing(namespace); sp != nil {
		for i := range sp.shards {
			sh := &sp.shards[i]
			sh.mu.Lock()
			n += sh.guests
			sh.mu.Unlock()
		}
	}
	return n, nil
}

func (sp *space) listKey(k key, q store.Query) (page store.Page, err error) {
	var after store.Handle
	if q.Cursor != "" {
		if after, err = store.ParseHandle(q.Cursor); err != nil {
			return store.Page{}, fmt.Errorf("reading cursor: %w", err)
		}
	}
	var handles []store.Handle
	for _, x := range sp.keyShardOf(k).records(k, q.Ended) {
		handles = append(handles, sp.handleOf(x))
	}
	slices.SortFunc(handles, func(a, b store.Handle) int { return bytes.Compare(a[:], b[:]) })
	handles = slices.Compact(handles)
	for _, h := range handles {
		if q.Cursor != "" && bytes.Compare(h[:], after[:]) <= 0 {
			continue
		}
		if len(page.Records) == q.PageSize() {
			page.Next = page.Records[len(page.Records)-1].Handle.String()
			return page, nil
		}
		var r store.Record
		if sp.load(h, &r) && q.Wants(&r) {
			page.Records = append(page.Records, r)
		}
	}
	return page, nil
}

// listAll walks the shards by number; a record keeps its number while it is
// there.
func (sp *space) listAll(q store.Query) (page store.Page, err error) {
	shard, number := 0, uint32(1)
	if q.Cursor != "" {
		if _, err := fmt.Sscanf(q.Cursor, "%d.%d", &shard, &number); err != nil || shard < 0 || shard >= shardCount || number == 0 ||
			q.Cursor != fmt.Sprintf("%d.%d", shard, number) {
			return store.Page{}, fmt.Errorf("reading cursor %q: not one of ours", q.Cursor)
		}
	}
	for ; shard < shardCount; shard, number = shard+1, 1 {
		for more := true; more; {
			number, more = sp.listShard(shard, number, q, &page)
			if more && len(page.Records) == q.PageSize() {
				page.Next = fmt.Sprintf("%d.%d", shard, number)
				return page, nil
			}
		}
	}
	return page, nil
}

// listShard adds records of one shard to the page, looking at a bounded number
// of them under one hold of the lock, and returns where to go on.
func (sp *space) listShard(shard int, number uint32, q store.Query, page *store.Page) (next uint32, more bool) {
	sh := &sp.shards[shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range sweepHold {
		if number > sh.numbers.last {
			return number, false
		}
		if len(page.Records) == q.PageSize() {
			return number, true
		}
		if p := sh.place(number); p != 0 {
			var r store.Record
			if sh.copyLocked(p, sp, &r); q.Wants(&r) {
				page.Records = append(page.Records, r)
			}
		}
		number++
	}
	return number, true
}
