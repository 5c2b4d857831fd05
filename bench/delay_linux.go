package main

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"time"
)

// delayMeter tells how long a thread has waited, ready to run, for a processor
// that others had.
type delayMeter struct {
	file *os.File
	last time.Duration
}

// newDelayMeter measures the caller's thread, which it binds to the caller's
// goroutine. Where the system does not tell, the delay is zero.
func newDelayMeter() *delayMeter {
	runtime.LockOSThread()
	file, err := os.Open("/proc/thread-self/schedstat")
	if err != nil {
		return &delayMeter{}
	}
	return &delayMeter{file: file}
}

// delay returns the delay since the thread began. When the thread or the meter has
// ended, it stays what it was.
func (m *delayMeter) delay() time.Duration {
	if m.file == nil {
		return 0
	}
	var text [64]byte
	n, _ := m.file.ReadAt(text[:], 0)
	fields := bytes.Fields(text[:n]) // time on the processor, time waiting for one, slices
	if len(fields) == 3 {
		nanoseconds, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		m.last = time.Duration(nanoseconds)
	}
	return m.last
}

// close releases the goroutine.
func (m *delayMeter) close() {
	if m.file != nil {
		_ = m.file.Close() // it was only read
	}
	runtime.UnlockOSThread()
}
