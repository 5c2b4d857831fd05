package demo

import (
	"net/http"
	"time"
)

// TestOnlyFront puts something before the shop that only the attacks of /try meet.
func (s *Shop) TestOnlyFront(front func(http.Handler) http.Handler) { s.lab.front = front }

// TestOnlyPatience sets how long one attack of /try may take.
func (s *Shop) TestOnlyPatience(d time.Duration) { s.lab.patience = d }
