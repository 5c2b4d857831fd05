-- All times are nanoseconds since 1970-01-01 UTC; 0 means "not set". Handles are
-- spelt as in logs and lists. What a column says prevails over the blob.

CREATE TABLE sessions (
    namespace  TEXT    NOT NULL,
    handle     TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    state      INTEGER NOT NULL, -- 1 anonymous, 2 pending, 3 active
    subject    TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    seen       INTEGER NOT NULL,
    idle       INTEGER NOT NULL, -- nanoseconds; 0: no idle timeout
    idle_locks INTEGER NOT NULL, -- 1: locks, instead of ending, when idle
    auth_at    INTEGER NOT NULL,
    deadline   INTEGER NOT NULL, -- absolute end, sealed into the session
    locked     INTEGER NOT NULL, -- set to 1 to lock
    limit_at   INTEGER NOT NULL, -- an earlier absolute end
    ended_at   INTEGER NOT NULL, -- other than 0: a tombstone
    cause      TEXT    NOT NULL,
    ended_by   TEXT    NOT NULL,
    epoch      INTEGER NOT NULL, -- of session_epochs when created
    head       BLOB    NOT NULL, -- the rest of the record, encoded

    -- Computed, so that nobody who edits a column has to remember them.
    ends_at    INTEGER GENERATED ALWAYS AS (
        CASE WHEN limit_at <> 0 AND (deadline = 0 OR limit_at < deadline)
             THEN limit_at ELSE deadline END) VIRTUAL,
    expires_at INTEGER GENERATED ALWAYS AS (
        CASE WHEN idle > 0 AND idle_locks = 0
              AND seen <= 9223372036854775807 - idle -- an idle timeout beyond all time
              AND (ends_at = 0 OR seen + idle < ends_at)
             THEN seen + idle ELSE ends_at END) VIRTUAL,

    PRIMARY KEY (namespace, handle)
) STRICT;

-- What a subject has, the living apart from the tombstones.
CREATE INDEX sessions_subject ON sessions (namespace, subject, ended_at, handle)
    WHERE subject <> '';
-- What is due: everything of an older epoch, then what has expired. The state lets
-- the living of a state be counted in the index alone.
CREATE INDEX sessions_due ON sessions (namespace, epoch, expires_at, state)
    WHERE ended_at = 0;
CREATE INDEX sessions_tombstones ON sessions (namespace, ended_at)
    WHERE ended_at <> 0;

CREATE TABLE session_parts (
    namespace  TEXT    NOT NULL,
    handle     TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    sealed     BLOB    NOT NULL,
    PRIMARY KEY (namespace, handle, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE session_links (
    namespace TEXT NOT NULL,
    handle    TEXT NOT NULL,
    link      BLOB NOT NULL,
    PRIMARY KEY (namespace, handle, link)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_links_link ON session_links (namespace, link, handle);

-- One row for each revocation of everything. It ends the sessions of earlier
-- epochs: all of them, or those authenticated before auth_before.
CREATE TABLE session_epochs (
    namespace   TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    auth_before INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    clock       INTEGER NOT NULL, -- which node's, by its own number
    cause       TEXT    NOT NULL,
    ended_by    TEXT    NOT NULL,
    PRIMARY KEY (namespace, epoch)
) STRICT, WITHOUT ROWID;

-- The last revocation of each subject and link: a login that began earlier comes
-- too late.
CREATE TABLE session_revocations (
    namespace TEXT    NOT NULL,
    kind      TEXT    NOT NULL, -- 'subject' or 'link'
    name      BLOB    NOT NULL, -- the subject's bytes, or the link
    at        INTEGER NOT NULL,
    clock     INTEGER NOT NULL, -- -1: there were several
    PRIMARY KEY (namespace, kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_revocations_at ON session_revocations (namespace, at);
