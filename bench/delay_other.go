//go:build !linux

package main

import "time"

// delayMeter would tell how long a thread has waited for a processor; this system
// does not say.
type delayMeter struct{}

func newDelayMeter() *delayMeter { return &delayMeter{} }

func (*delayMeter) delay() time.Duration { return 0 }

func (*delayMeter) close() {}
