package main

import "net/http"

// writeRow changes a value of a kilobyte with each request. It comes by GET, so
// that no form token is checked: the peers have none.
func writeRow() row {
	turn, values := 0, sampleBytes()
	return requestRow("write", "a request that changes a value of 1 KB, sessions in memory", []claim{
		{measure: "writing request, sealed, memory: session cost", goal: "≤ 1/5 of scs"},
	}, fillBytes, func(lib library, w http.ResponseWriter, r *http.Request) error {
		turn++
		if err := readUser(lib, w, r); err != nil {
			return err
		}
		return lib.setBytes(w, r, values[turn&1])
	}, func(c costs) []outcome { return []outcome{c.timeOutcome(1.0 / 5)} })
}
