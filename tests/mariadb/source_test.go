package mariadb_test

import (
	"slices"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/session/store/storetest"
)

// TestSourceParameters: nothing that somebody writes behind the ? of a data source
// name changes what the store does.
func TestSourceParameters(t *testing.T) {
	for _, c := range []struct {
		name, parameters string
		invariants       []string
	}{
		{"matched rows", "?clientFoundRows=true&interpolateParams=true&parseTime=true&multiStatements=true", []string{"I2", "I4"}},
		{"modes", "?sql_mode=''&autocommit=0&completion_type=1&sql_select_limit=1&sql_safe_updates=1&unique_checks=0" +
			"&tx_isolation='SERIALIZABLE'&tx_read_only=1&columnsWithAlias=true", []string{"I6", "I8"}},
		{"texts", "?charset=latin1&collation=latin1_german2_ci&compress=true&time_zone='%2B05:00'", []string{"I8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			openName := func(t testing.TB, name string) store.Store {
				return opened{open(t, name, sqlstore.Options{}), name}
			}
			h := storetest.Harness{
				Open:   func(t testing.TB) store.Store { return openName(t, database(t)+c.parameters) },
				Second: func(t testing.TB, s store.Store) store.Store { return openName(t, s.(opened).name) },
			}
			for _, test := range storetest.Cases() {
				if slices.Contains(c.invariants, test.Invariant) {
					t.Run(test.Invariant+"/"+test.Name, func(t *testing.T) { test.Run(t, h) })
				}
			}
		})
	}
}
