package redisstore

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"cloakroom.example/session/store"
)

// # Keys
//
// Every key is
//
//	Prefix · kind · namespace 8 · { · tag 2 · } · rest
//
// in letters that need no quotes, where the namespace is the beginning of its hash
// and the tag one of 256, which spread evenly over the slots of a Cluster. What belongs to a session has the
// tag of its handle; what belongs to a subject or a link has that of its name.
// So reading a session is one command in one slot, and revoking all sessions
// costs as many commands as there are tags.
//
//	kind  rest         type    holds
//	r     handle 22    string  the session: header, record, parts (value.go)
//	e                  string  how often everything was revoked, and when last (epoch.go)
//	l                  list    what those revocations said
//	d                  string  which chunks there are
//	i     number       string  a chunk: handles of sessions, in order of creation (list.go)
//	s     hash 22      hash    sessions of a subject, and when it was revoked (name.go)
//	x     hash 22      hash    the same for a link
//	n     handle 22    –       notices, see below
//	w                  string  what a replica is waited for with (confirm.go)
//
// # What pushes may be taken from
//
// Touches change r, so that tracking r would empty all copies all the time.
// Whatever changes more of a session than its last-seen time sets and deletes n
// of its handle in the same step, and revoking everything sets e: copies are
// dropped by tracking the prefixes noticePrefix and epochPrefix, and no others.
// The last 22 bytes of an n key are the handle, for [store.ParseHandle]. A key of kind n never exists
// outside the step.
const (
	kindRecord    = 'r'
	kindEpoch     = 'e'
	kindLog       = 'l'
	kindDirectory = 'd'
	kindChunk     = 'i'
	kindSubject   = 's'
	kindLink      = 'x'
	kindNotice    = 'n'
	kindWait      = 'w'
)

// buckets is the number of tags.
const buckets = 256

// keyspace makes the keys of one namespace.
type keyspace struct {
	prefix, id string
	tags       *[buckets]string
}

// keys returns the keyspace of a namespace. 48 bits of its hash tell the few
// namespaces of one installation apart.
func (s *Store) keys(namespace string) keyspace {
	if id, known := s.ids.Load(namespace); known {
		return keyspace{s.prefix, id.(string), &s.tags}
	}
	sum := sha256.Sum256([]byte(namespace))
	id := base64.RawURLEncoding.EncodeToString(sum[:])[:8]
	s.ids.Store(namespace, id)
	return keyspace{s.prefix, id, &s.tags}
}

// in returns a key of a kind in a bucket.
func (k keyspace) in(kind byte, bucket int, rest string) string {
	tag := k.tags[bucket]
	b := make([]byte, 0, len(k.prefix)+len(k.id)+len(tag)+len(rest)+3)
	b = append(b, k.prefix...)
	b = append(b, kind)
	b = append(b, k.id...)
	b = append(b, '{')
	b = append(b, tag...)
	b = append(b, '}')
	b = append(b, rest...)
	return string(b)
}

// of returns a key of a kind for a session.
func (k keyspace) of(kind byte, h store.Handle) string {
	return k.in(kind, bucketOf(h), h.String())
}

// noticePrefix begins the keys that say which session has changed.
func (k keyspace) noticePrefix() string { return k.prefix + string(kindNotice) + k.id + "{" }

// noticed returns the session that a key of the notices is about.
func (k keyspace) noticed(key string) (h store.Handle, ok bool) {
	if !strings.HasPrefix(key, k.noticePrefix()) {
		return h, false
	}
	h, err := store.ParseHandle(key[strings.IndexByte(key, '}')+1:])
	return h, err == nil
}

// epochPrefix begins the keys that change when everything is revoked.
func (k keyspace) epochPrefix() string { return k.prefix + string(kindEpoch) + k.id + "{" }

// bucketOf returns the bucket of a session. Handles are hashes: any of their
// bits are evenly spread.
func bucketOf(h store.Handle) int { return int(h[0]) }

// name is what sessions are found by, beside their handles: a subject or a link.
type name struct {
	key    string
	bucket int
}

func (k keyspace) subject(subject string) name {
	return k.name(kindSubject, []byte(subject))
}

func (k keyspace) link(l store.Link) name {
	return k.name(kindLink, l[:])
}

func (k keyspace) name(kind byte, of []byte) name {
	sum := sha256.Sum256(of)
	bucket := int(sum[16])
	return name{k.in(kind, bucket, base64.RawURLEncoding.EncodeToString(sum[:16])), bucket}
}

// namesOf returns the names of a session, each once.
func (k keyspace) namesOf(r *store.Record) (names []name) {
	if r.Subject != "" {
		names = append(names, k.subject(r.Subject))
	}
	for i, l := range r.Links {
		if !contains(r.Links[:i], l) {
			names = append(names, k.link(l))
		}
	}
	return names
}

func contains(links []store.Link, l store.Link) bool {
	for _, other := range links {
		if other == l {
			return true
		}
	}
	return false
}

// makeTags chooses the tags: the n-th has its slot in the n-th of 256 equal
// parts of a Cluster's slots, so that every node gets its share of sessions.
func makeTags() (tags [buckets]string) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, a := range letters {
		for _, b := range letters {
			tag := string(a) + string(b)
			if i := slotOf(tag) / (slots / buckets); tags[i] == "" {
				tags[i] = tag
			}
		}
	}
	return tags
}

// slots is how many a Cluster has.
const slots = 16384

// slotOf is the hash by which a Cluster distributes keys: CRC16/XMODEM.
func slotOf(tag string) (slot int) {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// checkPrefix refuses prefixes that would take the tag's place.
func checkPrefix(prefix string) error {
	if strings.ContainsAny(prefix, "{}") {
		return fmt.Errorf("redisstore: prefix %q contains braces", prefix)
	}
	return nil
}

// chunk returns the key of a chunk of a bucket's list.
func (k keyspace) chunk(bucket int, number uint32) string {
	return k.in(kindChunk, bucket, strconv.FormatUint(uint64(number), 10))
}
