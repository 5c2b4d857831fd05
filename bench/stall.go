package main

import (
	"runtime"
	"time"
)

// stall is the longest of many lookups.
type stall struct {
	// Longest and Raw are milliseconds, without and with the time in which the
	// threads that take part were ready to run and the processor was somebody
	// else's. On a busy machine Raw says more about the others.
	Longest float64 `json:"longest"`
	Raw     float64 `json:"raw"`
	Lookups int     `json:"lookups"`
}

// stalls looks sessions up while expire runs, and then for as long again.
func (f *footprint) stalls(lookup func() error, expire func() (int, error)) (err error) {
	runtime.GC()
	mine := newDelayMeter()
	defer mine.close()
	started, expired := make(chan *delayMeter), make(chan error, 1)
	began := time.Now()
	go func() {
		its := newDelayMeter()
		defer its.close()
		started <- its
		n, err := expire()
		f.Expired = n
		expired <- err
	}()
	its := <-started
	if f.Stall, err = longest(lookup, expired, mine, its); err != nil {
		return err
	}
	quiet := make(chan error, 1)
	time.AfterFunc(time.Since(began), func() { quiet <- nil })
	f.Quiet, err = longest(lookup, quiet, mine)
	return err
}

const (
	// slow is from when on a lookup is worth asking where its time went.
	slow = 100 * time.Microsecond
	// askedEvery is after how many lookups the delays so far are forgotten.
	askedEvery = 16
)

// longest looks up, at least once, until it is told to stop.
func longest(lookup func() error, stop <-chan error, meters ...*delayMeter) (s stall, err error) {
	delay := func() (sum time.Duration) {
		for _, m := range meters {
			sum += m.delay()
		}
		return sum
	}
	for last := delay(); ; {
		began := time.Now()
		if err := lookup(); err != nil {
			return s, err
		}
		took := time.Since(began)
		s.Lookups++
		if took > slow || s.Lookups%askedEvery == 0 {
			now := delay()
			s.Raw = max(s.Raw, milliseconds(took))
			s.Longest = max(s.Longest, milliseconds(took-(now-last)))
			last = now
		}
		select {
		case err := <-stop:
			return s, err
		default:
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
