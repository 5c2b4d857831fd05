package sqlstore

import (
	"crypto/sha256"
	"encoding/hex"
)

// # How PostgreSQL pushes what changes
//
// A trigger on the tables notifies, in the transaction of the change and whoever
// makes it, on the channels that the table session_watched names for the namespace.
// Last-seen times are not notified. The payload is a handle, as 22 characters of
// base64url, or pushAll.
//
// Notifications have a price: transactions that notify commit one after the other.
// So nothing is notified unless somebody watches. Who wants to, in this order,
//
//   - listens to the channel,
//   - takes, shared and for as long as he is connected, the advisory lock
//     hashtextextended(channel, 0),
//   - commits a row of session_watched, if there is none,
//   - waits for the transactions that hold ROW EXCLUSIVE locks on sessions or
//     session_epochs at that time.
//
// Whoever writes takes that lock before the snapshot in which his trigger looks for
// the row. So a transaction that did not find it has ended when the wait is over,
// and what it changed is there for all to see. The row goes when a sweep gets the
// advisory lock for itself, that is to say, when nobody is connected any more who
// relies on it: no clock has a say in it.

// pushAll stands for every handle of a namespace.
const pushAll = "*"

// PushChannel returns the channel on which the changes of a namespace are notified,
// for tables in the schema given.
func PushChannel(schema, namespace string) string {
	sum := sha256.Sum256([]byte(schema + "\x00" + namespace))
	return "cloakroom_" + hex.EncodeToString(sum[:16])
}

// PushNamespace returns how the tables spell a namespace.
func PushNamespace(namespace string) string { return escape(namespace) }

const unwatchPostgres = `DELETE FROM session_watched WHERE namespace = ? ` +
	`AND pg_try_advisory_xact_lock(hashtextextended(channel, 0))`
