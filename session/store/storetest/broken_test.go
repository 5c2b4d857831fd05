package storetest_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// broken names, for each flaw, the cases that must find it.
func broken() map[string][]string {
	return map[string][]string{
		"upsert":                           {"I1/swap_after_revoke", "I1/swap_of_unknown_creates_nothing", "I1/revoke_races_swap", "I3/replace_races_swap", "I8/garbage_authenticates_nothing", "I4/swap_tightens"},
		"touch writes the whole record":    {"I1/revoke_races_touch", "I4/touches_race_swaps"},
		"touch creates":                    {"I1/touch_of_unknown_creates_nothing"},
		"touch revives ended":              {"I1/touch_after_revoke", "I1/swap_and_touch_after_replace"},
		"no tombstone":                     {"I1/tombstone_opens_nothing", "I1/create_over_tombstone", "I5/handle", "I5/expired_is_ended_too"},
		"tombstone keeps wrap":             {"I1/tombstone_opens_nothing"},
		"tombstone loses verifier":         {"I1/tombstone_opens_nothing"},
		"cause of the last":                {"I1/second_revoke_keeps_first_cause", "I5/all_again_keeps_first_cause"},
		"never-expiring cannot be ended":   {"I1/every_expiry_setting_can_be_ended"},
		"sweep removes tombstones at once": {"I1/tombstones_stay_a_day", "I1/tombstones_stay_as_long_as_asked"},
		"tombstones stay for ever":         {"I1/tombstones_go_afterwards"},
		"revocation reads, then writes":    {"I1/revoke_races_revoke", "I2/history_is_that_of_one_register", "I10/expiry_is_acknowledged_once"},

		"blind update":                  {"I2/swap_at_wrong_version", "I2/parallel_swaps_one_wins", "I2/retry_loops_keep_every_change", "I2/repeated_swap_applies_once"},
		"version checked, then written": {"I2/parallel_swaps_one_wins", "I2/retry_loops_keep_every_change", "I2/acknowledged_changes_survive_faults", "I1/revoke_races_swap"},
		"create overwrites":             {"I2/create_of_existing", "I2/parallel_creates_one_wins", "I2/repeated_create_creates_once"},
		"handle checked, then inserted": {"I2/parallel_creates_one_wins"},
		"slices shared":                 {"I2/returned_slices_are_the_callers", "I2/passed_slices_are_not_retained"},
		"parts overwritten":             {"I2/parts_are_swapped_separately", "I2/parallel_parts_all_survive", "I2/part_without_value_is_removed"},
		"empty part removed":            {"I2/empty_part_is_kept"},
		"load gives all parts":          {"I2/load_returns_named_parts_only", "I2/head_and_parts_are_one_record"},
		"part of whatever is there":     {"I2/part_of_a_changed_record_conflicts"},
		"part added to what was there":  {"I2/head_and_parts_are_one_record"},
		"stale replica":                 {"I2/history_is_that_of_one_register"},

		"replaced lives on":            {"I3/replace_ends_the_old", "I1/swap_and_touch_after_replace", "I6/parallel_replaces_keep_the_limit"},
		"replace ignores version":      {"I3/replace_at_wrong_version"},
		"replace ignores a lock":       {"I4/replace_of_unseen_lock"},
		"clocks trusted":               {"I5/since_by_another_clock"},
		"replaced checked, then ended": {"I3/replace_races_replace", "I3/replace_races_swap", "I3/replace_races_revoke"},

		"refused, and yet replaced":     {"I3/refused_replace_changes_nothing"},
		"locked is ended":               {"I2/swap_of_locked_session"},
		"all by time":                   {"I5/all_then_new_sessions_live"},
		"first link only":               {"I5/link"},
		"revocations concern everybody": {"I5/since_concerns_the_revoked_only"},
		"limit spares locked":           {"I6/counts_live_active_sessions_of_the_subject"},
		"NUL ends strings":              {"I8/odd_strings"},
		"large parts cut":               {"I8/large_part"},

		"touch moves back":          {"I4/touch_moves_seen_forward_only"},
		"touch revives expired":     {"I4/touch_refused", "I4/touch_up_to_the_last_nanosecond"},
		"touch moves locked":        {"I4/touch_refused", "I4/touch_batch"},
		"touch counts as a version": {"I4/touch_writes_nothing_else", "I4/touch_disturbs_no_swap"},
		"touch stops at unknown":    {"I4/touch_batch"},
		"swap loosens":              {"I4/swap_cannot_loosen", "I4/lock_keeps_the_version", "I4/swap_races_lock_and_shorten"},
		"swap moves seen back":      {"I4/swap_cannot_loosen", "I4/touch_disturbs_no_swap"},
		"swap writes identity":      {"I4/swap_keeps_what_creation_fixed"},
		"shorten lengthens":         {"I4/lock_and_shorten_only_tighten"},

		"index written back":                 {"I5/everything_created_in_parallel"},
		"since ignored":                      {"I5/since_before_revocation_is_refused", "I5/create_races_revoke_subject", "I5/create_races_revoke_link", "I5/create_races_revoke_all", "I3/refused_replace_changes_nothing", "I5/since_of_an_authentication_revoked"},
		"revocations checked, then inserted": {"I5/create_races_revoke_subject", "I5/create_races_revoke_all", "I5/revoke_means_all_under_faults"},
		"last revocation wins":               {"I5/since_survives_later_revocations"},
		"except ignored":                     {"I5/except"},
		"authenticated before ignored":       {"I5/authenticated_before", "I5/all_authenticated_before"},
		"all reports":                        {"I5/all"},
		"list forgets links":                 {"I5/list_filters"},
		"page borders left out":              {"I5/list_pages", "I5/list_default_page", "I7/cursors_survive"},
		"page borders listed twice":          {"I5/list_pages"},
		"cursor is an offset":                {"I5/list_while_sessions_come_and_go"},
		"any cursor will do":                 {"I5/list_refuses_other_cursors"},
		"count includes the ended":           {"I5/list_filters"},

		"limit checked, then inserted": {"I6/parallel_creates_refuse", "I6/parallel_creates_evict", "I6/limits_hold_under_faults", "I6/create_races_end"},
		"limit counts expired":         {"I6/counts_live_active_sessions_of_the_subject"},
		"limit counts replaced":        {"I6/does_not_count_the_replaced"},
		"limit for everybody":          {"I6/applies_to_active_sessions_only"},
		"evicts by last seen":          {"I6/evict_oldest"},
		"evicts one only":              {"I6/evict_down_to_the_limit"},

		"last write lost": {"I7/last_create_survives", "I7/last_swap_survives", "I7/last_touch_survives", "I7/last_revoke_survives", "I7/records_survive", "I7/limits_survive", "I7/revocations_survive_for_logins"},

		"namespace ignored":            {"I8/namespaces_are_isolated", "I8/namespaces_expire_apart"},
		"namespace cut at a separator": {"I8/namespaces_are_not_confused"},
		"subjects without case":        {"I8/subjects_are_not_confused", "I5/subject", "I5/unknown_is_no_error", "I5/effects_by_subject_and_link"},
		"microseconds":                 {"I8/nanoseconds"},
		"unknown extensions dropped":   {"I8/unknown_extensions_survive", "I8/every_field_comes_back", "I4/swap_changes_the_rest"},
		"errors quote values":          {"I8/errors_hold_no_value"},

		"load ends expired": {"I9/reads_write_nothing", "I10/load_leaves_expiry_to_the_caller"},
		"touch takes 100":   {"I9/touch_takes_a_large_batch"},

		"own clock":              {"I10/store_reads_no_clock", "I10/swap_at_its_time", "I10/only_expired_ends_what_has_expired", "I3/replace_of_dead_session"},
		"sweep reads, then ends": {"I10/parallel_sweeps_report_once", "I10/expiry_is_acknowledged_once"},
		"sweep is not bounded":   {"I10/sweep_is_bounded"},
		"sweep says it is done":  {"I10/sweep_is_bounded"},

		"not found when cancelled":    {"I11/cancelled_before_reading", "I11/cancelled_before_writing"},
		"bare context error":          {"I11/cancelled_before_reading", "I11/cancelled_before_writing"},
		"applied, but unavailable":    {"I11/cancelled_before_writing"},
		"cancelled, but acknowledged": {"I11/cancelled_before_writing"},
	}
}

// harness opens simple stores with a flaw.
func harness(flaw string) storetest.Harness {
	return storetest.Harness{
		Open: func(testing.TB) store.Store { return newSimple(flaw) },
		Reopen: func(_ testing.TB, s store.Store) store.Store {
			if s := s.(*simple); s.is("last write lost") {
				s.rows = maps.Clone(s.disk)
			}
			return s
		},
	}
}

// TestSimple: without a flaw it passes.
func TestSimple(t *testing.T) { storetest.Run(t, harness("")) }

// TestBroken: each flaw is found, by each case that is there for it.
func TestBroken(t *testing.T) {
	cases := map[string]storetest.Case{}
	for _, c := range storetest.Cases() {
		if name := c.Invariant + "/" + c.Name; cases[name].Run != nil {
			t.Errorf("two cases are called %s", name)
		} else {
			cases[name] = c
		}
	}
	for flaw, found := range broken() {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			for _, name := range found {
				if cases[name].Run == nil {
					t.Fatalf("there is no case %s", name)
				}
				if failures := record(t, cases[name], harness(flaw)); len(failures) == 0 {
					t.Errorf("%s passes", name)
				}
			}
		})
	}
}

// TestModelShrinks: what the model finds is printed as a short program.
func TestModelShrinks(t *testing.T) {
	// A seed that shows all of these flaws within the first two programs,
	// however slow the machine.
	t.Setenv("CLOAKROOM_SEED", "19")
	const most = 8
	for _, flaw := range []string{"touch moves back", "blind update", "swap loosens", "no tombstone", "evicts one only", "since ignored"} {
		t.Run(flaw, func(t *testing.T) {
			failures := record(t, caseNamed(t, "all", "model"), harness(flaw))
			if len(failures) != 1 || !strings.Contains(failures[0], "CLOAKROOM_SEED=") {
				t.Fatalf("got failures %q, want one that names the seed", failures)
			}
			steps := 0
			for strings.Contains(failures[0], fmt.Sprintf("\n\t%2d ", steps+1)) {
				steps++
			}
			if steps == 0 || steps > most {
				t.Errorf("got a program of %d steps, want at most %d:\n%s", steps, most, failures[0])
			}
		})
	}
}

func caseNamed(t *testing.T, invariant, name string) storetest.Case {
	for _, c := range storetest.Cases() {
		if c.Invariant == invariant && c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %s/%s", invariant, name)
	return storetest.Case{}
}

// recorder takes a case's failures instead of the test that runs it.
type recorder struct {
	testing.TB // for everything else; its hidden method lets a recorder be a TB

	mu       sync.Mutex
	failures []string
}

// record runs a case and returns its failures. The case has a goroutine of its
// own, which Fatal can end.
func record(t *testing.T, c storetest.Case, h storetest.Harness) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(r, h)
	}()
	<-done
	return r.failures
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *recorder) Error(args ...any)   { r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any)   { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fail()               { r.Errorf("failed") }
func (r *recorder) FailNow()            { r.Fatalf("failed") }
func (r *recorder) Log(...any)          {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Helper()             {}
