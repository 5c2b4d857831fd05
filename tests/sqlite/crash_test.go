package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

const crashWriters = 16

// writeUntilKilled creates, changes and ends sessions from many goroutines, and
// reports each write when it was acknowledged. round keeps the handles of one
// run apart from those of the next.
func writeUntilKilled(s *sqlstore.Store, round string) {
	r, err := strconv.Atoi(round)
	if err != nil {
		panic(err)
	}
	for w := range crashWriters {
		go func() {
			for i := 0; ; i++ {
				writeOne(s, (r*crashWriters+w)*1_000_000+i)
			}
		}()
	}
	time.Sleep(time.Minute) // long after the parent has killed us
}

func writeOne(s *sqlstore.Store, n int) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	r := record(n, fmt.Sprint("user ", n%7))
	_, err := s.Create(ctx, store.Creation{Record: r, Now: start()})
	fail(err)
	report("create %d", n)
	for v := range uint64(n % 3) {
		r.Version = v + 1
		r.Parts[0].Generation = v + 2 // always the version, as long as nothing is torn
		fail(s.Swap(ctx, r, start()))
		report("swap %d %d", n, v+2)
	}
	if n%4 == 0 {
		_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", Handle: r.Handle, Cause: "admin", Now: start()})
		fail(err)
		report("revoke %d", n)
	}
}

// acknowledged is what the killed process had been told about one session.
type acknowledged struct {
	version uint64
	ended   bool
}

// TestKill kills a process that writes under load at a random moment, many
// times, on the same file. All that it was told to be written is there.
func TestKill(t *testing.T) {
	const rounds = 25
	name := file(t)
	writes := 0
	for round := range rounds {
		acks := runAndKill(t, name, round)
		s, db := openWith(t, name, sqlstore.Options{})
		for n, want := range acks {
			checkSurvivor(t, s, n, want)
			writes += int(want.version)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Close()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d acknowledged creates and swaps in %d rounds", writes, rounds)
	if writes < rounds {
		t.Errorf("got %d acknowledged writes, want at least %d for the test to mean anything", writes, rounds)
	}
}

// runAndKill returns what the process acknowledged before it died.
func runAndKill(t *testing.T, name string, round int) map[int]acknowledged {
	t.Helper()
	cmd, lines := startChild(t, name, fmt.Sprint("write ", round))
	acks := map[int]acknowledged{}
	for lines.Scan() {
		if len(acks) == 0 {
			time.AfterFunc(rand.N(150*time.Millisecond), func() { cmd.Process.Kill() })
		}
		var what string
		var n int
		var version uint64
		// The last line may be cut off; then it counts as not acknowledged.
		if k, _ := fmt.Sscan(lines.Text(), &what, &n, &version); k < 2 {
			continue
		}
		a := acks[n]
		switch {
		case what == "create":
			a.version = 1
		case what == "swap" && version != 0:
			a.version = version
		case what == "revoke":
			a.ended = true
		}
		acks[n] = a
	}
	cmd.Wait()
	return acks
}

func checkSurvivor(t *testing.T, s store.Store, n int, want acknowledged) {
	t.Helper()
	r, err := s.Load(t.Context(), key(n), []string{"values"})
	switch {
	case errors.Is(err, store.ErrNotFound) && want.version > 0:
		t.Errorf("session %d: got not found, want the acknowledged creation", n)
	case err != nil && want.version > 0:
		t.Errorf("session %d: %v", n, err)
	case err != nil: // the line of the creation was cut off
	case want.ended && !r.Ended():
		t.Errorf("session %d: got a living session, want the acknowledged revocation", n)
	case r.Version < want.version:
		t.Errorf("session %d: got version %d, want the acknowledged %d or later", n, r.Version, want.version)
	case !r.Ended() && (len(r.Parts) != 1 || r.Parts[0].Generation != r.Version):
		t.Errorf("session %d: got version %d with parts %v, want the part of the same write", n, r.Version, r.Parts)
	}
}
