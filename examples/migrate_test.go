package examples_test

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/sqlite3store"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	aliceIsIn = "<b>alice</b> is signed in"
	nobodyIn  = "Nobody is signed in"
)

// migration is an application before and after, and what its old cookie is called.
type migration struct {
	folder, cookie string
}

func migrations() []migration {
	return []migration{{"migrate/scs", "session"}, {"migrate/gorilla", "wardrobe"}}
}

// before starts the old application.
func (m migration) before(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	return start(t, m.folder+"/before", append([]string{"-data", dir}, args...)...)
}

// after starts the new one, with the bridge.
func (m migration) after(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	return start(t, m.folder+"/after", append([]string{"-data", dir, "-bridge"}, args...)...)
}

// resident returns somebody who has signed in to the old application and hung up a
// coat there.
func (m migration) resident(t *testing.T, old *program) *browser {
	t.Helper()
	b := newBrowser(t, old)
	b.do("POST", "/login", values("user", "alice", "password", "coat")).want(t, "signing in before", http.StatusSeeOther)
	b.shows("/", "Good to see you.")
	// Cookies of gorilla with the same content, made in the same second, are the same.
	b.do("POST", "/coat", values("coat", "duffle "+rand.Text())).want(t, "hanging up", http.StatusSeeOther)
	b.shows("/", aliceIsIn)
	if b.cookies[m.cookie] == "" {
		t.Fatalf("got cookies %v, want %s", b.cookies, m.cookie)
	}
	return b
}

// TestMigration: what holds for every bridge.
func TestMigration(t *testing.T) {
	for _, m := range migrations() {
		t.Run(m.folder, func(t *testing.T) {
			t.Parallel()
			for name, test := range map[string]func(m migration, t *testing.T, old, now *program){
				"stays signed in, once":                migration.once,
				"is not fresh":                         migration.notFresh,
				"one of many parallel requests":        migration.parallel,
				"not what a page loads":                migration.subresource,
				"visitors keep their values":           migration.visitor,
				"a new login ends the old one":         migration.newLogin,
				"a revocation here ends those there":   migration.revoked,
				"forged cookies are no reason to fail": migration.forged,
			} {
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					test(m, t, m.before(t, dir), m.after(t, dir))
				})
			}
		})
		t.Run(m.folder+" over restarts", func(t *testing.T) {
			t.Parallel()
			m.restarts(t)
		})
	}
}

func (m migration) once(t *testing.T, old, now *program) {
	b := m.resident(t, old)
	thief := b.twin()
	b = b.at(now)
	b.shows("/", aliceIsIn)
	if b.cookies[m.cookie] != "" || b.cookies[sessionCookie] == "" {
		t.Errorf("got cookies %v, want the new one alone", b.cookies)
	}
	b.shows("/", "Coats: duffle")
	thief.at(now).shows("/", nobodyIn)
	b.shows("/", aliceIsIn)
	b.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
	b.shows("/", nobodyIn)
	thief.at(now).shows("/", nobodyIn)
}

func (m migration) notFresh(t *testing.T, old, now *program) {
	b := m.resident(t, old).at(now)
	b.get("/")
	b.submit("/", "/close").want(t, "what needs the password", http.StatusForbidden)
	b.shows("/", "Coats: duffle")
	b.submit("/", "/confirm", "password", "coat").want(t, "confirming", http.StatusSeeOther)
	b.submit("/", "/close").want(t, "with the password", http.StatusSeeOther)
	b.shows("/", "Coats: none")
	b.shows("/", aliceIsIn)
	b.submit("/", "/logout")
}

func (m migration) parallel(t *testing.T, old, now *program) {
	b := m.resident(t, old).at(now)
	got := make([]answer, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = b.twin().get("/") })
	}
	wg.Wait()
	in := 0
	for _, a := range got {
		if strings.Contains(a.body, aliceIsIn) {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d of %d requests with one old cookie got a session, want 1", in, len(got))
	}
}

func (m migration) subresource(t *testing.T, old, now *program) {
	b := m.resident(t, old).at(now)
	b.mode = "no-cors"
	b.shows("/", nobodyIn)
	if b.cookies[m.cookie] == "" {
		t.Error("an image lost the old cookie")
	}
	b.mode = "navigate"
	b.shows("/", aliceIsIn)
}

func (m migration) visitor(t *testing.T, old, now *program) {
	b := newBrowser(t, old)
	b.do("POST", "/coat", values("coat", "parka")).want(t, "hanging up", http.StatusSeeOther)
	b = b.at(now)
	b.shows("/", nobodyIn)
	b.shows("/", "Coats: parka")
	b.signIn("/", "/login", "bob", "hat")
	b.shows("/", "Coats: parka")
}

// newLogin signs in and out by scripts while the old session lies unused in the same
// browser, as when the page was opened before.
func (m migration) newLogin(t *testing.T, old, now *program) {
	b := newBrowser(t, now)
	b.get("/")
	b.cookies[m.cookie] = m.resident(t, old).cookies[m.cookie]
	thief := b.twin()
	b.mode = "cors"
	b.signIn("/", "/login", "bob", "hat")
	b.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
	b.mode = "navigate"
	b.shows("/", nobodyIn)
	thief.shows("/", nobodyIn)
}

func (m migration) revoked(t *testing.T, old, now *program) {
	here, there := m.resident(t, old), m.resident(t, old)
	here = here.at(now)
	here.shows("/", aliceIsIn)
	here.submit("/", "/others").want(t, "ending the others", http.StatusSeeOther)
	here.shows("/", aliceIsIn)
	there.at(now).shows("/", nobodyIn)
}

func (m migration) forged(t *testing.T, _, now *program) {
	b := newBrowser(t, now)
	for _, value := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("|", 5000)} {
		b.cookies[m.cookie] = value
		b.get("/").want(t, "a forged cookie", http.StatusOK)
		b.shows("/", nobodyIn)
	}
}

// restarts goes through the migration as an operator does: the old application
// stops, the new one starts, later without the bridge.
func (m migration) restarts(t *testing.T) {
	dir := t.TempDir()
	old := m.before(t, dir)
	first, second, late := m.resident(t, old), m.resident(t, old), m.resident(t, old)
	old.stop()

	now := m.after(t, dir)
	thief := first.twin()
	first.at(now).shows("/", aliceIsIn)
	now.stop()

	now = m.after(t, dir)
	first.at(now).shows("/", aliceIsIn)
	thief.at(now).shows("/", nobodyIn)
	second.at(now).shows("/", "Coats: duffle")
	now.stop()

	over := m.after(t, dir, "-until", "-1s")
	late.at(over).shows("/", nobodyIn)
	second.at(over).shows("/", aliceIsIn)
	over.stop()

	done := start(t, m.folder+"/after", "-data", dir)
	first.at(done).shows("/", aliceIsIn)
	second.at(done).shows("/", "Coats: duffle")
}

// ends returns when a page says that its session ends.
func (b *browser) ends(path string) time.Time {
	b.t.Helper()
	found := regexp.MustCompile(`<time>([^<]+)</time>`).FindStringSubmatch(b.get(path).body)
	if found == nil {
		b.t.Fatalf("%s does not say when the session ends", path)
	}
	at, err := time.Parse(time.RFC3339, found[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return at
}

// scsRows opens what the old application on scs has stored.
func scsRows(t *testing.T, dir string) *sqlite3store.SQLite3Store {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "scs.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return sqlite3store.NewWithCleanupInterval(db, 0)
}

// TestMigrationFromSCS: what only holds where the old sessions lie on the server.
func TestMigrationFromSCS(t *testing.T) {
	t.Parallel()
	m := migrations()[0]
	t.Run("the old deadline stays", func(t *testing.T) {
		dir := t.TempDir()
		b := m.resident(t, m.before(t, dir, "-lifetime", "10m", "-idle", "5m"))
		old := b.ends("/")
		b = b.at(m.after(t, dir))
		b.shows("/", aliceIsIn)
		if now := b.ends("/"); now.After(old.Add(time.Second)) || now.Before(old.Add(-time.Minute)) {
			t.Errorf("ends at %v, want %v as before", now, old)
		}
	})
	t.Run("what has ended there does not come over", func(t *testing.T) {
		dir := t.TempDir()
		old := m.before(t, dir, "-idle", "5s")
		rows := scsRows(t, dir)
		b := m.resident(t, old)
		wait(t, "the old session does not end", func() bool {
			_, found, err := rows.Find(b.cookies[m.cookie]) // which is no activity
			return err == nil && !found
		})
		now := m.after(t, dir)
		b.at(now).shows("/", nobodyIn)

		b = m.resident(t, old)
		copied := b.twin()
		b.do("POST", "/logout", values()).want(t, "logout", http.StatusSeeOther)
		copied.at(now).shows("/", nobodyIn)
	})
	t.Run("a late request there cannot bring it back", func(t *testing.T) {
		dir := t.TempDir()
		b := m.resident(t, m.before(t, dir))
		thief := b.twin()
		rows := scsRows(t, dir)
		data, found, err := rows.Find(b.cookies[m.cookie]) // as a request does when it begins
		if err != nil || !found {
			t.Fatalf("got %v, %v, want the row", found, err)
		}
		now := m.after(t, dir)
		b.at(now).shows("/", aliceIsIn)
		if err := rows.Commit(thief.cookies[m.cookie], data, time.Now().Add(time.Hour)); err != nil { // and when it ends
			t.Fatal(err)
		}
		thief.at(now).shows("/", nobodyIn)
		if _, found, err := rows.Find(thief.cookies[m.cookie]); found || err != nil {
			t.Errorf("the row is still there: %v, %v", found, err)
		}
	})
}

// TestMigrationFromGorilla: what needs a note because nothing lies on the server.
func TestMigrationFromGorilla(t *testing.T) {
	t.Parallel()
	m := migrations()[1]
	t.Run("another spelling of a used cookie", func(t *testing.T) {
		dir := t.TempDir()
		b := m.resident(t, m.before(t, dir))
		for range 2 { // until there are bits to spare at the end
			if strings.HasSuffix(b.cookies[m.cookie], "=") {
				break
			}
			b.do("POST", "/coat", values("coat", "x"))
		}
		thief := b.twin()
		thief.cookies[m.cookie] = respell(t, b.cookies[m.cookie])
		control := thief.twin()
		now := m.after(t, dir)
		b.at(now).shows("/", aliceIsIn)
		control.shows("/", aliceIsIn) // the old application does not mind
		thief.at(now).shows("/", nobodyIn)
	})
	t.Run("a logout ends all old cookies of the user", func(t *testing.T) {
		dir := t.TempDir()
		old := m.before(t, dir)
		b := m.resident(t, old)
		earlier, other := b.twin(), m.resident(t, old)
		b.do("POST", "/coat", values("coat", "parka")).want(t, "a second cookie", http.StatusSeeOther)
		now := m.after(t, dir)
		b = b.at(now)
		b.shows("/", aliceIsIn)
		b.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
		earlier.at(now).shows("/", nobodyIn)
		other.at(now).shows("/", nobodyIn)
	})
	t.Run("old cookies keep their age", func(t *testing.T) {
		dir := t.TempDir()
		b := m.resident(t, m.before(t, dir, "-max-age", "5s"))
		wait(t, "the old cookie does not age", func() bool {
			// A copy, because the answer may renew the cookie.
			return strings.Contains(b.twin().get("/").body, nobodyIn)
		})
		b.at(m.after(t, dir, "-max-age", "5s")).shows("/", nobodyIn)

		b = m.resident(t, m.before(t, dir, "-max-age", "10m"))
		made := time.Now()
		b = b.at(m.after(t, dir, "-max-age", "10m"))
		b.shows("/", aliceIsIn)
		if end := b.ends("/"); end.After(made.Add(10*time.Minute + time.Second)) {
			t.Errorf("ends at %v, want at most ten minutes after %v", end, made)
		}
	})
}

// respell writes a cookie in another way that means the same.
func respell(t *testing.T, cookie string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	body := strings.TrimRight(cookie, "=")
	last := strings.IndexByte(alphabet, body[len(body)-1])
	other := body[:len(body)-1] + alphabet[last^1:last^1+1] + cookie[len(body):]
	was, err := base64.URLEncoding.DecodeString(cookie)
	if err != nil {
		t.Fatal(err)
	}
	is, err := base64.URLEncoding.DecodeString(other)
	if err != nil || string(is) != string(was) || other == cookie {
		t.Fatalf("%q is no other spelling of %q", other, cookie)
	}
	return other
}
