-- All times are nanoseconds since 1970-01-01 UTC; 0 means "not set". Handles are
-- spelt as in logs and lists. What a column says prevails over the blob.
--
-- Touches and changes must not write indexes: no column that they change is in
-- one, and pages keep room for the next version of a row (heap-only tuples).

CREATE TABLE sessions (
    namespace  text COLLATE "C" NOT NULL,
    handle     text COLLATE "C" NOT NULL,
    version    bigint   NOT NULL,
    state      smallint NOT NULL, -- 1 anonymous, 2 pending, 3 active
    idle_locks smallint NOT NULL, -- 1: locks, instead of ending, when idle
    locked     smallint NOT NULL, -- set to 1 to lock
    created    bigint   NOT NULL,
    seen       bigint   NOT NULL,
    idle       bigint   NOT NULL, -- nanoseconds; 0: no idle timeout
    auth_at    bigint   NOT NULL,
    deadline   bigint   NOT NULL, -- absolute end, sealed into the session
    limit_at   bigint   NOT NULL, -- an earlier absolute end
    ended_at   bigint   NOT NULL, -- other than 0: a tombstone
    epoch      bigint   NOT NULL, -- of session_epochs when created
    facts      bigint   NOT NULL DEFAULT 0, -- hash of what in head never changes; 0: not known
    -- When to look whether the session has expired: never later than that, but
    -- earlier where it was used since. Kept by the trigger and the sweep.
    due_at     bigint   NOT NULL DEFAULT 0,
    -- Computed, so that nobody who edits a column has to remember it.
    expires_at bigint   NOT NULL GENERATED ALWAYS AS (
        CASE WHEN idle > 0 AND idle_locks = 0
              AND seen <= 9223372036854775807 - idle -- an idle timeout beyond all time
              AND (deadline = 0 OR seen + idle < deadline) AND (limit_at = 0 OR seen + idle < limit_at)
             THEN seen + idle
             WHEN limit_at <> 0 AND (deadline = 0 OR limit_at < deadline)
             THEN limit_at ELSE deadline END) STORED,
    subject    text COLLATE "C" NOT NULL,
    role       text COLLATE "C" NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    cause      text COLLATE "C" NOT NULL,
    ended_by   text COLLATE "C" NOT NULL,
    head       bytea NOT NULL, -- the rest of the record, encoded

    PRIMARY KEY (namespace, handle)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.05);

-- Ciphertext does not get shorter.
ALTER TABLE sessions ALTER COLUMN head SET STORAGE EXTERNAL;

CREATE FUNCTION sessions_set_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.due_at := CASE
        WHEN NEW.idle > 0 AND NEW.idle_locks = 0 AND NEW.seen <= 9223372036854775807 - NEW.idle
         AND (NEW.deadline = 0 OR NEW.seen + NEW.idle < NEW.deadline)
         AND (NEW.limit_at = 0 OR NEW.seen + NEW.idle < NEW.limit_at)
        THEN NEW.seen + NEW.idle
        WHEN NEW.limit_at <> 0 AND (NEW.deadline = 0 OR NEW.limit_at < NEW.deadline)
        THEN NEW.limit_at ELSE NEW.deadline END; RETURN NEW; END $$;

CREATE TRIGGER sessions_due_insert BEFORE INSERT ON sessions
    FOR EACH ROW EXECUTE FUNCTION sessions_set_due();
CREATE TRIGGER sessions_due_update BEFORE UPDATE OF idle, idle_locks, deadline, limit_at ON sessions
    FOR EACH ROW WHEN (OLD.idle <> NEW.idle OR OLD.idle_locks <> NEW.idle_locks
        OR OLD.deadline <> NEW.deadline OR OLD.limit_at <> NEW.limit_at)
    EXECUTE FUNCTION sessions_set_due();

-- What a subject has, the living apart from the tombstones.
CREATE INDEX sessions_subject ON sessions (namespace, subject, ended_at, handle)
    WHERE subject <> '';
-- What is due: everything of an older epoch, then what may have expired. The state
-- lets the living of a state be counted in the index alone.
CREATE INDEX sessions_due ON sessions (namespace, epoch, due_at, state)
    WHERE ended_at = 0;
CREATE INDEX sessions_tombstones ON sessions (namespace, ended_at)
    WHERE ended_at <> 0;

CREATE TABLE session_parts (
    namespace  text COLLATE "C" NOT NULL,
    handle     text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    sealed     bytea NOT NULL,
    PRIMARY KEY (namespace, handle, name)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.05);

ALTER TABLE session_parts ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE session_links (
    namespace text COLLATE "C" NOT NULL,
    handle    text COLLATE "C" NOT NULL,
    link      bytea NOT NULL,
    PRIMARY KEY (namespace, handle, link)
);

CREATE INDEX session_links_link ON session_links (namespace, link, handle);

-- One row for each revocation of everything. It ends the sessions of earlier
-- epochs: all of them, or those authenticated before auth_before.
CREATE TABLE session_epochs (
    namespace   text COLLATE "C" NOT NULL,
    epoch       bigint NOT NULL,
    auth_before bigint NOT NULL,
    at          bigint NOT NULL,
    clock       bigint NOT NULL, -- which node's, by its own number
    cause       text COLLATE "C" NOT NULL,
    ended_by    text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, epoch)
);

-- The last revocation of each subject and link: a login that began earlier comes
-- too late.
CREATE TABLE session_revocations (
    namespace text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL, -- 'subject' or 'link'
    name      bytea  NOT NULL, -- the subject's bytes, or the link
    at        bigint NOT NULL,
    clock     bigint NOT NULL, -- -1: there were several
    PRIMARY KEY (namespace, kind, name)
);

CREATE INDEX session_revocations_at ON session_revocations (namespace, at);

-- In which namespaces somebody keeps copies of sessions, and the channels on which
-- changes are to be notified. See push.go.
CREATE TABLE session_watched (
    namespace text COLLATE "C" NOT NULL,
    channel   text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace, channel)
);

-- Tables are looked for beside the one that was changed: who edits it by hand may
-- have another search_path.
CREATE FUNCTION sessions_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_SCHEMA = current_schema()
    THEN PERFORM pg_notify(w.channel, OLD.handle) FROM session_watched w WHERE w.namespace = OLD.namespace; ELSE
        EXECUTE format('SELECT pg_notify(channel, $2) FROM %I.session_watched WHERE namespace = $1', TG_TABLE_SCHEMA)
        USING OLD.namespace, OLD.handle; END IF; RETURN NULL; END $$;

CREATE FUNCTION sessions_notify_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        EXECUTE format('SELECT pg_notify(channel, ''*'') FROM %I.session_watched WHERE namespace = $1', TG_TABLE_SCHEMA)
        USING NEW.namespace; ELSE
        EXECUTE format('SELECT pg_notify(channel, ''*'') FROM %I.session_watched', TG_TABLE_SCHEMA); END IF; RETURN NULL; END $$;

-- Of a session that comes into being nobody can have a copy. What a row says does
-- not depend on due_at and facts, nor on what a sweep does to epoch; and seen would
-- notify all the time.
CREATE TRIGGER sessions_changed AFTER UPDATE OF namespace, handle, version, state, idle_locks, locked, created, idle,
    auth_at, deadline, limit_at, ended_at, subject, role, tenant, cause, ended_by, head ON sessions
    FOR EACH ROW EXECUTE FUNCTION sessions_notify();
CREATE TRIGGER sessions_removed AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION sessions_notify();
CREATE TRIGGER sessions_emptied AFTER TRUNCATE ON sessions
    FOR EACH STATEMENT EXECUTE FUNCTION sessions_notify_all();
CREATE TRIGGER sessions_all_revoked AFTER INSERT OR UPDATE ON session_epochs
    FOR EACH ROW EXECUTE FUNCTION sessions_notify_all();
