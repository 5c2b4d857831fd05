package demo_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"

	"cloakroom.example/demo"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestAdminUnreadable: a session whose row was damaged is listed, can be looked at,
// and can be ended.
func TestAdminUnreadable(t *testing.T) {
	o := &office{clock: new(clock)}
	var db *sql.DB
	o.world = openWith(t, t.TempDir(), func(options *demo.Options) {
		o.onClock(options)
		db = options.Database
	})
	root := o.root(t)
	o.userFrom(t, "alice", iphone, "127.0.0.2")
	handle := root.handleOf("user=alice")
	if _, err := db.ExecContext(t.Context(), `UPDATE sessions SET head = x'ff' WHERE handle = ?`, handle); err != nil {
		t.Fatal(err)
	}
	root.get("/admin?user=alice").want(t, 200, "/admin/end?handle="+handle)
	root.get("/admin/session?handle="+handle).want(t, 200, "cannot be read", "/admin/end?handle="+handle)
	root.get("/admin/end?handle="+handle).want(t, 200, "cannot be read", `name="reason"`)
	root.post("/admin/end", "handle", handle, "reason", "damaged").wantTo(t, "/admin/session?handle="+handle)
	root.get("/admin/session?handle="+handle).want(t, 200, "The session has ended.", "damaged")
}

// TestAdminInventedPlaces: no cursor that somebody makes up does harm.
func TestAdminInventedPlaces(t *testing.T) {
	for name, s := range map[string]store.Store{"memory": memory.New(), "SQLite": nil} {
		root := openOfficeOn(t, s).root(t)
		for _, cursor := range []string{"0.0", "-1.1", "256.1", "1.4294967296", "1.1+", "1.1%0a", "%00", "%ff%fe", "AAAA"} {
			for _, query := range []string{"", "&user=root", "&state=visitor", "&state=any"} {
				if a := root.get("/admin?cursor=" + cursor + query); a.StatusCode != 400 {
					t.Errorf("%s, cursor %s%s: got status %d, want 400", name, cursor, query, a.StatusCode)
				}
			}
		}
	}
}

// silent is a store that can be told not to find a session any more.
type silent struct {
	store.Store
	now atomic.Bool
}

func (s *silent) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	if s.now.Load() {
		return store.Record{}, store.ErrUnavailable
	}
	return s.Store.Load(ctx, k, parts)
}

// TestAdminLiveInDoubt: where nobody can look up the administrator's session, the
// stream ends, and does not say that the session has ended.
func TestAdminLiveInDoubt(t *testing.T) {
	s := &silent{Store: memory.New()}
	root := openOfficeOn(t, s).root(t)
	live := root.follow("after=0")
	live.want("list", "root")
	s.now.Store(true)
	live.want("over", "Nobody can look up your session")
	live.wantEnd()
	s.now.Store(false)
	root.get("/admin").want(t, 200)
}
