package main

// readRow is the request that a site gets most: it asks who is signed in and
// leaves the rest of the session alone. The session holds a value of a kilobyte
// nevertheless, as sessions do.
func readRow() row {
	return requestRow("read", "a request that only asks who is signed in, sessions in memory", []claim{
		{measure: "read-only request, memory, only the subject read: session cost", goal: "≤ 1/10 of scs"},
		{measure: "the same: allocations above bare", goal: "≤ 9"},
	}, fillBytes, readUser, func(c costs) []outcome {
		return []outcome{c.timeOutcome(1.0 / 10), c.allocationOutcome(9)}
	})
}
