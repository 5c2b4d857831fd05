package redis_test

import (
	"testing"

	"cloakroom.example/session/store"
)

// TestEstimateAnonymous: where there are few sessions the estimate is exact.
func TestEstimateAnonymous(t *testing.T) {
	for _, e := range []engine{engines()[0], engines()[2]} {
		t.Run(e.name, func(t *testing.T) {
			s := e.open(t)
			for n := range 500 {
				r := typical("shop", n, 10)
				if n%2 == 0 {
					r.State, r.Subject = store.Anonymous, ""
				}
				if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
					t.Fatal(err)
				}
				if n%10 == 0 {
					v := store.Revocation{Namespace: "shop", Handle: r.Handle, Cause: "admin", Now: r.Created}
					if _, err := s.Revoke(t.Context(), v); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n, err := s.EstimateAnonymous(t.Context(), "shop"); err != nil || n != 200 {
				t.Errorf("EstimateAnonymous gave %d, error %v; want 200", n, err)
			}
			if n, err := s.EstimateAnonymous(t.Context(), "other"); err != nil || n != 0 {
				t.Errorf("EstimateAnonymous of another namespace gave %d, error %v; want 0", n, err)
			}
		})
	}
}
