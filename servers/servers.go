// Package servers runs real database servers for tests and benchmarks: each on a
// private port, with its files in a temporary folder, gone when it is closed.
package servers
