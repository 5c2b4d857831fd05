package nearcache_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// flaw is a mistake that could have been made in the near-cache.
type flaw struct{ name, file, right, wrong string }

func flaws() []flaw {
	return []flaw{
		{"answers overtaken by a push are kept", "shard.go", "\ts.overtake(id)\n\tif e := s.find(id)", "\tif e := s.find(id)"},
		{"answers from before a gap are kept", "load.go", "generation: task.flight.generation", "generation: (*s.spaces.Load())[r.Namespace].generation.Load()"},
		{"copies from before a gap are served", "load.go", "e.generation() == generation && ", ""},
		{"copies are served without a connection", "load.go", "reliable && isUp(generation)", "isUp(generation | 1)"},
		{"heartbeats are not asked for", "space.go", "return now.Sub(*began) <= most && now.Round(0).Sub(began.Round(0)) <= most", "return true"},
		{"heartbeats count from their arrival", "space.go", "sp.confirmed.Store(&began)", "now := time.Now(); _ = began; sp.confirmed.Store(&now)"},
		{"pushes about everything are ignored", "space.go", "sp.generation.Add(2)", "_ = sp.generation.Load()"},
		{"pushes drop the first handle only", "space.go", "for _, h := range handles {", "for _, h := range handles[:1] {"},
		{"own changes are left to the push", "space.go", "sh.written(id)\n\t\tsh.forget(id)", "sh.written(id)"},
		{"fresh Loads are answered from copies", "load.go", "if fresh {", "if false {"},
		{"several answers may be kept at once", "load.go", "if f != nil || !isUp(generation) {", "if !isUp(generation) {"},
		{"a fresh Load overtakes nobody", "load.go", "\tsh.overtake(id)\n", ""},
	}
}

// TestFlawsAreFound builds the near-cache with each flaw, and runs its schedules:
// they must fail.
func TestFlawsAreFound(t *testing.T) {
	dir, err := filepath.Abs("../../session/store/nearcache")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flaws() {
		t.Run(f.name, func(t *testing.T) {
			out, err := exec.Command("go", "test", "-count=1", "-overlay", f.overlay(t, dir), "-run", "^TestSchedules$", dir).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestSchedules") {
				t.Errorf("got %v, want the schedules to fail:\n%s", err, out)
			}
		})
	}
}

// overlay writes the flawed file, and the list that has it compiled instead of the
// right one.
func (f flaw) overlay(t *testing.T, dir string) (list string) {
	t.Helper()
	name := filepath.Join(dir, f.file)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), f.right); n != 1 {
		t.Fatalf("%s has %q %d times, want once", f.file, f.right, n)
	}
	flawed := filepath.Join(t.TempDir(), f.file)
	if err := os.WriteFile(flawed, []byte(strings.Replace(string(text), f.right, f.wrong, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(map[string]map[string]string{"Replace": {name: flawed}})
	if err != nil {
		t.Fatal(err)
	}
	list = flawed + ".json"
	if err := os.WriteFile(list, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}
