-- All times are nanoseconds since 1970-01-01 UTC; 0 means "not set". Handles are
-- spelt as in logs and lists. What a column says prevails over the blob.
--
-- Texts are kept as bytes, because every collation takes some of them for equal
-- that are not; the mysql program shows them with --skip-binary-as-hex. Each
-- statement ends a transaction, and must do no harm when it is run again.

CREATE TABLE IF NOT EXISTS sessions (
    namespace  VARBINARY(255)  NOT NULL,
    handle     BINARY(22)      NOT NULL,
    version    BIGINT          NOT NULL,
    state      INT             NOT NULL, -- 1 anonymous, 2 pending, 3 active
    subject    VARBINARY(1024) NOT NULL,
    role       VARBINARY(2048) NOT NULL,
    tenant     VARBINARY(2048) NOT NULL,
    created    BIGINT          NOT NULL,
    seen       BIGINT          NOT NULL,
    idle       BIGINT          NOT NULL, -- nanoseconds; 0: no idle timeout
    idle_locks TINYINT         NOT NULL, -- 1: locks, instead of ending, when idle
    auth_at    BIGINT          NOT NULL,
    deadline   BIGINT          NOT NULL, -- absolute end, sealed into the session
    locked     TINYINT         NOT NULL, -- set to 1 to lock
    limit_at   BIGINT          NOT NULL, -- an earlier absolute end
    ended_at   BIGINT          NOT NULL, -- other than 0: a tombstone
    cause      VARBINARY(2048) NOT NULL,
    ended_by   VARBINARY(2048) NOT NULL,
    epoch      BIGINT          NOT NULL, -- of session_epochs when created
    facts      BIGINT          NOT NULL DEFAULT 0, -- hash of what in head never changes; 0: not known
    head       LONGBLOB        NOT NULL, -- the rest of the record, encoded

    -- Computed, so that nobody who edits a column has to remember them.
    ends_at    BIGINT GENERATED ALWAYS AS (
        CASE WHEN limit_at <> 0 AND (deadline = 0 OR limit_at < deadline)
             THEN limit_at ELSE deadline END) STORED,
    expires_at BIGINT GENERATED ALWAYS AS (
        CASE WHEN idle > 0 AND idle_locks = 0
              AND seen <= 9223372036854775807 - idle -- an idle timeout beyond all time
              AND (ends_at = 0 OR seen + idle < ends_at)
             THEN seen + idle ELSE ends_at END) STORED,

    PRIMARY KEY (namespace, handle),
    -- What a subject has, the living apart from the tombstones.
    KEY sessions_subject (namespace, subject, ended_at),
    -- What is due: tombstones by age; of the living everything of an older epoch,
    -- then what has expired. The state lets the living of a state be counted in
    -- the index alone.
    KEY sessions_due (namespace, ended_at, epoch, expires_at, state)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS session_parts (
    namespace  VARBINARY(255)  NOT NULL,
    handle     BINARY(22)      NOT NULL,
    name       VARBINARY(1024) NOT NULL,
    generation BIGINT          NOT NULL,
    sealed     LONGBLOB        NOT NULL,
    PRIMARY KEY (namespace, handle, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS session_links (
    namespace VARBINARY(255) NOT NULL,
    handle    BINARY(22)     NOT NULL,
    link      BINARY(16)     NOT NULL,
    PRIMARY KEY (namespace, handle, link),
    KEY session_links_link (namespace, link)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- One row for each revocation of everything. It ends the sessions of earlier
-- epochs: all of them, or those authenticated before auth_before.
CREATE TABLE IF NOT EXISTS session_epochs (
    namespace   VARBINARY(255)  NOT NULL,
    epoch       BIGINT          NOT NULL,
    auth_before BIGINT          NOT NULL,
    at          BIGINT          NOT NULL,
    clock       BIGINT          NOT NULL, -- which node's, by its own number
    cause       VARBINARY(2048) NOT NULL,
    ended_by    VARBINARY(2048) NOT NULL,
    PRIMARY KEY (namespace, epoch)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The last revocation of each subject and link: a login that began earlier comes
-- too late.
CREATE TABLE IF NOT EXISTS session_revocations (
    namespace VARBINARY(255)  NOT NULL,
    kind      VARBINARY(16)   NOT NULL, -- 'subject' or 'link'
    name      VARBINARY(1024) NOT NULL, -- the subject's bytes, or the link
    at        BIGINT          NOT NULL,
    clock     BIGINT          NOT NULL, -- -1: there were several
    PRIMARY KEY (namespace, kind, name),
    KEY session_revocations_at (namespace, at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What stands for the names and namespaces that are hashed to these rows: locking
-- one makes whoever creates or revokes sessions of a name wait for the others.
CREATE TABLE IF NOT EXISTS session_locks (
    slot INT NOT NULL PRIMARY KEY
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

INSERT IGNORE INTO session_locks (slot)
    WITH RECURSIVE slots (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM slots WHERE slot < 767)
    SELECT slot FROM slots;
