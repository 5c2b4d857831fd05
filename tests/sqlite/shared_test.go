package sqlite_test

import (
	"bytes"
	"testing"

	"cloakroom.example/session/store/sqlstore"
)

// TestRevokeIsSeenByOtherProcess: a revocation by another process is seen by the
// next Load, with no delay to wait for.
func TestRevokeIsSeenByOtherProcess(t *testing.T) {
	name := file(t)
	s := open(t, name, sqlstore.Options{})
	create(t, s, record(0, "alice"))
	create(t, s, record(1, "bob"))
	_, lines := startChild(t, name, "revoke alice")
	for ended := false; ; {
		alice, err := s.Load(t.Context(), key(0), nil)
		if err != nil {
			t.Fatal(err)
		}
		if ended && !alice.Ended() {
			t.Fatal("got a living session after another process had revoked it")
		}
		if ended {
			break
		}
		if !lines.Scan() || lines.Text() != "revoked" {
			t.Fatalf("got %q, want the other process to say revoked", lines.Text())
		}
		ended = true
	}
	bob, err := s.Load(t.Context(), key(1), nil)
	if err != nil || bob.Ended() {
		t.Errorf("got ended %v and error %v for another subject, want a living session", bob.Ended(), err)
	}
}

// TestProcessesLoseNothing: two processes change one session at the same time.
func TestProcessesLoseNothing(t *testing.T) {
	name := file(t)
	s := open(t, name, sqlstore.Options{})
	r := record(0, "alice")
	r.Parts[0].Generation, r.Parts[0].Sealed = 0, []byte("-")
	create(t, s, r)
	cmd, _ := startChild(t, name, "add c")
	add(s, 0, "p")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the other process: %v", err)
	}
	r, err := s.Load(t.Context(), key(0), []string{"values"})
	if err != nil {
		t.Fatal(err)
	}
	const each = adders * additions
	got := []int{bytes.Count(r.Parts[0].Sealed, []byte("p")), bytes.Count(r.Parts[0].Sealed, []byte("c"))}
	if got[0] != each || got[1] != each {
		t.Errorf("got %d of our changes and %d of theirs, want %d of each", got[0], got[1], each)
	}
	if r.Version != 1+2*each || r.Parts[0].Generation != 2*each {
		t.Errorf("got version %d, generation %d, want %d, %d", r.Version, r.Parts[0].Generation, 1+2*each, 2*each)
	}
}
