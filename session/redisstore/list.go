package redisstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// All sessions are found through chunks: the handles of a bucket's sessions in
// the order in which they were created, up to 128 together. Nothing is ever moved
// or taken out, so that a place in them is a cursor; a chunk goes when the last of
// its sessions has gone, by itself. The directory of a bucket holds the numbers of
// its chunks, four bytes each.
const chunkMost = 128

// List implements [store.Store]. Lists of a subject or link are ordered by handle,
// others by place. A page may hold fewer records than asked for and yet not be the
// last.
func (s *Store) List(ctx context.Context, q store.Query) (page store.Page, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	keys := s.keys(q.Namespace)
	switch {
	case q.Subject != "":
		page, err = s.listName(ctx, keys.subject(q.Subject), q)
	case q.Link != (store.Link{}):
		page, err = s.listName(ctx, keys.link(q.Link), q)
	default:
		page, err = s.listAll(ctx, keys, q)
	}
	if err != nil {
		return store.Page{}, fmt.Errorf("listing sessions: %w", err)
	}
	return page, nil
}

// listName lists the sessions of a name.
func (s *Store) listName(ctx context.Context, n name, q store.Query) (page store.Page, err error) {
	var after store.Handle
	if q.Cursor != "" {
		if after, err = store.ParseHandle(q.Cursor); err != nil {
			return page, fmt.Errorf("reading cursor: %w", err)
		}
	}
	m, err := s.read(ctx, n.bucket, func() rueidis.Completed { return s.client.B().Hgetall().Key(n.key).Build() })
	if err != nil {
		return page, err
	}
	st, err := fieldsOf(n, m)
	if err != nil {
		return page, err
	}
	handles := st.live
	if q.Ended {
		handles = append(handles, st.ended...)
	}
	handles = slices.DeleteFunc(handles, func(h store.Handle) bool {
		return q.Cursor != "" && bytes.Compare(h[:], after[:]) <= 0
	})
	slices.SortFunc(handles, func(a, b store.Handle) int { return bytes.Compare(a[:], b[:]) })
	for len(handles) > 0 {
		some := handles[:min(len(handles), max(q.PageSize()-len(page.Records), 1))]
		if len(page.Records) == q.PageSize() {
			page.Next = after.String()
			return page, nil
		}
		if err := s.addTo(ctx, &page, q, some); err != nil {
			return page, err
		}
		after, handles = some[len(some)-1], handles[len(some):]
	}
	return page, nil
}

// addTo adds to a page those of the sessions that the list wants.
func (s *Store) addTo(ctx context.Context, page *store.Page, q store.Query, handles []store.Handle) error {
	all, err := s.findAll(ctx, q.Namespace, handles)
	if err != nil {
		return err
	}
	for _, h := range handles {
		if f, there := all[h]; there && f.unreadable == nil && q.Wants(&f.Record) {
			page.Records = append(page.Records, f.Record)
		}
	}
	return nil
}

// place is where a list of everything goes on.
type place struct {
	bucket int
	chunk  uint32
	offset int // of sessions
}

func (p place) String() string { return fmt.Sprintf("%d.%d.%d", p.bucket, p.chunk, p.offset) }

func parsePlace(cursor string) (p place, err error) {
	if cursor == "" {
		return p, nil
	}
	if _, err := fmt.Sscanf(cursor, "%d.%d.%d", &p.bucket, &p.chunk, &p.offset); err != nil ||
		p.bucket < 0 || p.bucket >= buckets || p.offset < 0 || p.offset > chunkMost || cursor != p.String() {
		return p, fmt.Errorf("reading cursor %q: not one of ours", cursor)
	}
	return p, nil
}

// listAll walks the chunks of one bucket after the other. Numbers of chunks grow
// (and begin anew after four thousand million), so that those before the cursor
// have been listed.
func (s *Store) listAll(ctx context.Context, keys keyspace, q store.Query) (page store.Page, err error) {
	from, err := parsePlace(q.Cursor)
	if err != nil {
		return page, err
	}
	directories, err := s.directories(ctx, keys, from.bucket)
	if err != nil {
		return page, err
	}
	for i, chunks := range directories {
		b := from.bucket + i
		for _, chunk := range chunks {
			if i == 0 && chunk < from.chunk {
				continue
			}
			offset := 0
			if i == 0 && chunk == from.chunk {
				offset = from.offset
			}
			if page.Next, err = s.listChunk(ctx, keys, place{b, chunk, offset}, q, &page); err != nil || page.Next != "" {
				return page, err
			}
		}
	}
	return page, nil
}

// listChunk adds sessions of one chunk to the page. It returns the cursor if the
// page is full.
func (s *Store) listChunk(ctx context.Context, keys keyspace, p place, q store.Query, page *store.Page) (next string, err error) {
	m, err := s.read(ctx, p.bucket, func() rueidis.Completed {
		return s.client.B().Get().Key(keys.chunk(p.bucket, p.chunk)).Build()
	})
	if err != nil {
		return "", err
	}
	handles := handlesIn(text(m))
	for p.offset < len(handles) {
		n := min(q.PageSize()-len(page.Records), len(handles)-p.offset)
		if n == 0 {
			return p.String(), nil
		}
		if err := s.addTo(ctx, page, q, handles[p.offset:p.offset+n]); err != nil {
			return "", err
		}
		p.offset += n
	}
	return "", nil
}

func handlesIn(chunk string) (handles []store.Handle) {
	for ; len(chunk) >= handleSize; chunk = chunk[handleSize:] {
		handles = append(handles, store.Handle([]byte(chunk[:handleSize])))
	}
	return handles
}

// directories reads which chunks there are, from a bucket on.
func (s *Store) directories(ctx context.Context, keys keyspace, from int) ([][]uint32, error) {
	var commands []rueidis.Completed
	for b := from; b < buckets; b++ {
		commands = append(commands, s.client.B().Get().Key(keys.in(kindDirectory, b, "")).Build())
	}
	replies, err := s.readAll(ctx, commands)
	if err != nil {
		return nil, err
	}
	all := make([][]uint32, len(replies))
	for i, m := range replies {
		for raw := []byte(text(m)); len(raw) >= 4; raw = raw[4:] {
			all[i] = append(all[i], binary.BigEndian.Uint32(raw))
		}
	}
	return all, nil
}

// sampleMost is how many sessions are looked at to estimate how many are
// visitors'.
const sampleMost = 2048

// EstimateAnonymous implements [store.Estimator]. It looks at every session where
// there are few, and at a sample of chunks where there are many.
func (s *Store) EstimateAnonymous(ctx context.Context, namespace string) (int, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	n, err := s.estimate(ctx, namespace)
	if err != nil {
		return 0, fmt.Errorf("counting visitors' sessions: %w", err)
	}
	return n, nil
}

func (s *Store) estimate(ctx context.Context, namespace string) (int, error) {
	keys := s.keys(namespace)
	directories, err := s.directories(ctx, keys, 0)
	if err != nil {
		return 0, err
	}
	var chunks []place
	for b, numbers := range directories {
		for _, number := range numbers {
			chunks = append(chunks, place{b, number, 0})
		}
	}
	rand.Shuffle(len(chunks), func(i, j int) { chunks[i], chunks[j] = chunks[j], chunks[i] })
	looked, found, done := 0, 0, 0
	for done < len(chunks) && looked < sampleMost {
		some := chunks[done:min(len(chunks), done+64)]
		n, hits, err := s.countAnonymous(ctx, keys, some)
		if err != nil {
			return 0, err
		}
		looked, found, done = looked+n, found+hits, done+len(some)
	}
	if done == 0 {
		return 0, nil
	}
	return found * len(chunks) / done, nil
}

// countAnonymous looks at the sessions of some chunks. It reads of each no more
// than says what it is.
func (s *Store) countAnonymous(ctx context.Context, keys keyspace, chunks []place) (looked, hits int, err error) {
	var commands []rueidis.Completed
	for _, p := range chunks {
		commands = append(commands, s.client.B().Get().Key(keys.chunk(p.bucket, p.chunk)).Build())
	}
	replies, err := s.readAll(ctx, commands)
	if err != nil {
		return 0, 0, err
	}
	commands = nil
	for _, m := range replies {
		for _, h := range handlesIn(text(m)) {
			commands = append(commands, s.client.B().Getrange().Key(keys.of(kindRecord, h)).Start(headerSize+1).End(headerSize+2).Build())
		}
	}
	replies, err = s.readAll(ctx, commands)
	for _, m := range replies {
		// Flags and state, as store.Record.Append writes them.
		if state := text(m); len(state) == 2 && state[0]&flagEnded == 0 && store.State(state[1]) == store.Anonymous {
			hits++
		}
	}
	return len(commands), hits, err
}

// flagEnded is what the flags of a tombstone have set.
const flagEnded = 4

// atoi reads a number that the engine has written.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
