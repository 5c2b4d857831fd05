package faults_test

import (
	"testing"
	"time"
)

// did is one operation of a history; times are in milliseconds.
type did struct {
	in           asked
	out          answered
	began, ended int
}

// TestHistories shows which histories the model accepts, and that it finds what
// must not happen.
func TestHistories(t *testing.T) {
	read := func(v, began, ended int) did {
		return did{asked{action: reads, token: "a"}, answered{value: v}, began, ended}
	}
	write := func(v, began, ended int) did {
		return did{asked{action: writes, token: "a", value: v}, answered{}, began, ended}
	}
	end := did{asked{action: ends}, answered{}, 20, 30}
	with := func(d did, token, given string) did {
		d.in.token, d.out.token = token, given
		return d
	}
	refused := func(d did) did { d.out = answered{refused: true}; return d }
	unknown := func(d did) did { d.out = answered{unknown: true}; return d }
	for name, c := range map[string]struct {
		history []did
		legal   bool
		lost    lost
	}{
		"one after the other":     {[]did{read(0, 0, 1), write(7, 2, 3), read(7, 4, 5), end, refused(read(0, 40, 41))}, true, lost{}},
		"at once, the old value":  {[]did{write(7, 0, 9), read(0, 5, 6), read(7, 7, 8)}, true, lost{}},
		"a change is lost":        {[]did{write(7, 0, 1), read(0, 2, 3)}, false, lost{changes: 1}},
		"a change comes back":     {[]did{write(7, 0, 1), write(8, 2, 3), read(7, 4, 5)}, false, lost{changes: 1}},
		"seen, then unseen":       {[]did{write(7, 0, 9), read(7, 1, 2), read(0, 3, 4)}, false, lost{changes: 1}},
		"never written":           {[]did{read(7, 0, 1)}, false, lost{changes: 1}},
		"unknown, applied":        {[]did{unknown(write(7, 0, 1)), read(7, 2, 3)}, true, lost{}},
		"unknown, not applied":    {[]did{unknown(write(7, 0, 1)), read(0, 2, 3)}, true, lost{}},
		"unknown, applied late":   {[]did{unknown(write(7, 0, 1)), read(0, 2, 3), read(7, 4, 5)}, true, lost{}},
		"unknown, applied twice":  {[]did{unknown(write(7, 0, 1)), read(7, 2, 3), write(8, 4, 5), read(7, 6, 7)}, false, lost{changes: 1}},
		"revoked, yet accepted":   {[]did{end, read(0, 40, 41)}, false, lost{revoked: 1}},
		"revoked, yet written":    {[]did{end, write(7, 40, 41)}, false, lost{revoked: 1}},
		"while it is revoked":     {[]did{end, read(0, 25, 41)}, true, lost{}},
		"maybe revoked, accepted": {[]did{unknown(end), read(0, 40, 41)}, true, lost{}},
		"maybe revoked, refused":  {[]did{unknown(end), refused(read(0, 40, 41))}, true, lost{}},
		"refused, then accepted":  {[]did{unknown(end), refused(read(0, 40, 41)), read(0, 42, 43)}, false, lost{changes: 1}},
		"refused for nothing":     {[]did{refused(read(0, 0, 1))}, false, lost{sessions: 1}},
		"logout refused":          {[]did{refused(end), read(0, 40, 41)}, false, lost{changes: 1}},
		"rotated": {[]did{
			with(read(0, 0, 1), "a", "b"), with(read(0, 2, 3), "a", "b"), with(read(0, 4, 5), "b", ""),
		}, true, lost{}},
		"two successors": {[]did{with(read(0, 0, 1), "a", "b"), with(read(0, 2, 3), "a", "c")}, false, lost{changes: 1}},
		"an old token is accepted": {[]did{
			with(read(0, 0, 1), "a", "b"), with(read(0, 2, 3), "b", "c"), with(read(0, 4, 5), "a", ""),
		}, false, lost{changes: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &tracked{subject: "alice", first: "a", token: "a"}
			for _, d := range c.history {
				s.record(0, d.in, d.out, time.Duration(d.began)*time.Millisecond, time.Duration(d.ended)*time.Millisecond)
			}
			wrong := s.check()
			if legal := wrong == ""; legal != c.legal {
				t.Fatalf("got legal: %t, want %t\n%s", legal, c.legal, s)
			}
			if wrong == "" {
				return
			}
			if got := s.losses(); got != c.lost {
				t.Errorf("got %+v, want %+v", got, c.lost)
			}
		})
	}
}
