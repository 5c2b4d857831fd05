package storetest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"cloakroom.example/session/store"
)

// blindCases prove I8: a store neither understands nor alters what it keeps,
// and tells nobody.
func blindCases() []Case {
	return group("I8",
		named{"every_field_comes_back", everyField},
		named{"large_part", largePart},
		named{"odd_strings", oddStrings},
		named{"subjects_are_not_confused", confusedSubjects},
		named{"nanoseconds", nanoseconds},
		named{"unknown_extensions_survive", unknownExtensions},
		named{"garbage_authenticates_nothing", garbage},
		named{"errors_hold_no_value", errorsHoldNoValue},
	)
}

// full sets every field that a live session can have.
func full(r *store.Record) {
	r.Assurance = store.Assurance{Methods: []string{"pwd", "otp"}, Level: 2, At: at(-3), Role: "admin", Tenant: "acme"}
	r.Transport, r.Rotated, r.IdleLocks = store.Bearer, at(-1), true
	r.Limit = at(11 * time.Hour)
	r.Predecessor = &store.Predecessor{Verifier: store.Verifier{8}, Successor: []byte("successor"), Confirmed: at(-2)}
	r.First = store.Client{Addr: netip.MustParseAddr("192.0.2.1"), Agent: "curl/8"}
	r.Last = store.Client{Addr: netip.MustParseAddr("fe80::1%eth0"), Agent: strings.Repeat("a", store.MaxAgent)}
	r.Label = "phone"
	r.Links = []store.Link{linkOf(1), linkOf(1000), {}}
	r.Extensions = []store.Extension{{Name: "device", Critical: true, Value: []byte{0, 1, 255}}, {Name: "x"}}
	r.Parts = []store.Part{part("app", 1<<40, "values"), part("jar", 2, "cookies")}
}

// roundTrip creates and swaps a record and compares it each time.
func (w *world) roundTrip(what string, r store.Record, parts ...string) {
	w.Helper()
	w.mustCreate(creation(r))
	w.same(what+", created", r, parts...)
	r = w.mustSwap(r, r.Created)
	w.same(what+", swapped", r, parts...)
}

func everyField(w *world) {
	w.roundTrip("full record", w.session("alice", full), "app", "jar")
	w.roundTrip("record with few fields", store.Record{
		Namespace: w.ns, Handle: w.session("").Handle, Version: 1, State: store.Anonymous, Created: at(0), Seen: at(0),
	})
	w.roundTrip("record with equal clients", w.session("alice", full, func(r *store.Record) { r.Last = r.First }), "app", "jar")
	w.roundTrip("mapped address", w.session("alice", func(r *store.Record) { r.First.Addr = netip.MustParseAddr("::ffff:192.0.2.1") }))
	w.roundTrip("bytes of every value", w.session("alice", func(r *store.Record) {
		for i := range 256 {
			r.Wrap = append(r.Wrap, byte(i))
			r.Handle[i%16], r.Verifier[i%32] = byte(i*7), byte(i*5)
		}
	}))
	w.roundTrip("handle of zeros and verifier of ones", w.session("alice", func(r *store.Record) {
		r.Handle = store.Handle{15: 1}
		for i := range r.Verifier {
			r.Verifier[i] = 255
		}
	}))
}

func largePart(w *world) {
	large := make([]byte, 64<<10)
	for i := range large {
		large[i] = byte(i * i >> 3)
	}
	r := w.session("alice", func(r *store.Record) { r.Parts[0].Sealed = large })
	w.roundTrip("part of 64 KiB", r)
	r.Version, r.Parts = 2, []store.Part{{Name: "jar", Generation: 1, Sealed: append(large, 1)}, {Name: "app", Sealed: large[:1]}}
	r = w.mustSwap(r, at(time.Minute))
	w.same("part grown and part shrunk", r, "app", "jar")
}

// odd are strings that engines, drivers and key builders are known to mangle.
func odd() []string {
	return []string{"", " ", "a b", "a:b", "a|b", "a/b", "{a}", "a\x00b", "\x00", "a\xffb", "\xc3\x28", "üser", "用户", "👩‍💻",
		"'; DROP TABLE sessions; --", "%", "_", "*", "\\", "\"", "a\nb", "null", "NULL", "0", "-1", strings.Repeat("long", 75)}
}

func oddStrings(w *world) {
	for _, s := range odd() {
		r := w.session(s, func(r *store.Record) {
			r.Label, r.Assurance.Role, r.Assurance.Tenant, r.Assurance.Methods = s, s, s, []string{s, s}
			r.First.Agent = s
			r.Extensions = []store.Extension{{Name: s, Value: []byte(s)}}
			r.Parts = []store.Part{part("app", 1, "value of "+s), part("p"+s, 1, "part of "+s)}
		})
		w.roundTrip(fmt.Sprintf("strings %q", s), r, "app", "p"+s)
		w.revoke(store.Revocation{Handle: r.Handle, Cause: s + "!", By: s})
		w.ended("cause", r.Handle, s+"!")
		if got := w.load(r.Handle); got.End.By != s {
			w.Errorf("tombstone was ended by %q, want %q", got.End.By, s)
		}
	}
}

// confusedSubjects: engines compare without case, accents, trailing blanks, or
// beyond a prefix, unless told otherwise; users would see each other's list.
func confusedSubjects(w *world) {
	long := strings.Repeat("x", 300)
	subjects := append(odd()[1:], "user", "User", "USER", "user ", " user", "user\x00", "u\u0308ser", "user%", "use_", "ſ", "ß", "ss",
		"Ü", "1", "1.0", "01", "true", long+"a", long+"b")
	all := make([]store.Record, len(subjects))
	for i, s := range subjects {
		all[i] = w.create(s)
	}
	for i, s := range subjects {
		w.wantList(fmt.Sprintf("sessions of %q", s), store.Query{Subject: s}, all)
		c := creation(w.session(s))
		c.Max = 1
		w.refused(c, store.ErrLimit)
		c.Max = 2
		w.mustCreate(c)
		all = append(all, c.Record)
		if changed := w.revoke(store.Revocation{Subject: s}); !sameHandles(changed, []store.Handle{all[i].Handle, c.Record.Handle}) {
			w.Errorf("Revoke of subject %q changed %d sessions, want its own 2", s, len(changed))
		}
		for _, j := range []int{i, len(all) - 1} {
			all[j].Finish(store.End{At: at(time.Minute), Cause: "admin", By: "root"})
		}
	}
}

func nanoseconds(w *world) {
	zone := time.FixedZone("elsewhere", 5*3600)
	r := w.session("alice", func(r *store.Record) {
		for i, t := range []*time.Time{&r.Created, &r.Seen, &r.Rotated, &r.Assurance.At, &r.Deadline, &r.Limit} {
			*t = t.Add(time.Duration(i) + 111)
		}
		r.Limit = at(3*time.Hour + 7).In(zone)
		r.Rotated = at(1).In(zone)
		r.Idle = 30*time.Minute + 1
		r.Predecessor = &store.Predecessor{Confirmed: at(9)}
	})
	w.roundTrip("times with nanoseconds", r)
	r.Version = 2
	r.Seen = r.Seen.Add(1)
	w.touch(r.Handle, r.Seen)
	w.same("Touch by a nanosecond", r)
	end := at(time.Minute + 3)
	w.revoke(store.Revocation{Handle: r.Handle, Now: end.In(zone)})
	if got := w.load(r.Handle).End.At; !got.Equal(end) {
		w.Errorf("session ended at %v, want %v", got, end)
	}
}

func unknownExtensions(w *world) {
	r := w.session("alice", func(r *store.Record) {
		r.Extensions = []store.Extension{
			{Name: "future.v9", Critical: true, Value: []byte("\x00\x01binary\xff")}, {Name: "note"},
			{Name: "empty", Critical: true, Value: []byte{}}, {Name: "twice", Value: []byte("1")}, {Name: "twice", Value: []byte("2")},
		}
	})
	w.roundTrip("unknown extensions", r)
	w.touch(r.Handle, at(time.Minute))
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectLock})
	r.Version, r.Seen, r.Locked = 2, at(time.Minute), true
	w.same("unknown extensions after Touch and lock", r)
}

// garbage: what somebody may read in a stolen database does not name a session.
func garbage(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(r))
	var verifier, tail, link, wrap, subject store.Handle
	copy(verifier[:], r.Verifier[:])
	copy(tail[:], r.Verifier[16:])
	copy(link[:], r.Links[0][:])
	copy(wrap[:], r.Wrap)
	copy(subject[:], r.Subject)
	flipped := r.Handle
	flipped[15] ^= 1
	for i, h := range []store.Handle{{}, verifier, tail, link, wrap, subject, flipped, store.Handle(r.Verifier[8:24])} {
		got, err := w.other().Load(w.Context(), store.Key{Namespace: w.ns, Handle: h}, nil)
		w.is(fmt.Sprintf("Load of garbage %d", i), err, store.ErrNotFound)
		if diff(got, store.Record{}) != "" {
			w.Errorf("Load of garbage %d gave a record", i)
		}
		late := clone(r)
		late.Handle = h
		w.is(fmt.Sprintf("Swap of garbage %d", i), w.swap(late, at(0)), store.ErrNotFound)
	}
}

// errorsHoldNoValue provokes the errors that are easy to provoke.
func errorsHoldNoValue(w *world) {
	r := w.session("alice", func(r *store.Record) {
		r.Parts = []store.Part{part("app", 1, "precious-sealed-value")}
		r.Wrap = []byte("precious-wrapped-key")
	})
	w.mustCreate(creation(r))
	missing := w.session("alice")
	missing.Parts, missing.Wrap, missing.Verifier = r.Parts, r.Wrap, r.Verifier
	late := clone(r)
	late.Version = 9
	_, exists := w.s().Create(w.Context(), creation(r))
	limit := creation(missing)
	limit.Max = 1
	_, limited := w.s().Create(w.Context(), limit)
	stale := creation(missing)
	stale.Replace = &store.Replace{Handle: r.Handle, Version: 7}
	_, conflict := w.s().Create(w.Context(), stale)
	for _, err := range []error{exists, limited, conflict, w.swap(late, at(0)), w.swap(missing, at(0))} {
		if err == nil {
			w.Fatalf("an operation that must fail did not")
		}
		for _, secret := range [][]byte{r.Parts[0].Sealed, r.Wrap, r.Verifier[:]} {
			for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret)} {
				if strings.Contains(err.Error(), form) {
					w.Errorf("an error text holds what the store keeps: %q", err)
				}
			}
		}
	}
}
