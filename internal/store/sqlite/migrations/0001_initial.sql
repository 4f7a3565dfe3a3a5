-- The first schema. Times are Unix milliseconds (0 or NULL: none), ids are the
-- 16 bytes of a sestina.ID, which sort by time. Rows that an email causes are
-- kept in as few b-trees as possible: an index costs as much as a row.

-- Small facts of the installation, such as the row that Ping writes.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- Accounts and regions, interned: rows of the hot path carry the small number.
CREATE TABLE scopes (
    id      INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    UNIQUE (account, region)
);

-- The control plane. A deleted document stays as a tombstone, so that whoever
-- reads "newer than revision n" hears of the deletion.
CREATE TABLE documents (
    revision INTEGER PRIMARY KEY,
    account  TEXT    NOT NULL,
    region   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    data     BLOB,
    UNIQUE (account, region, kind, name)
);

-- Accepted emails. seq is private: it keeps the wide rows in a rowid table,
-- appended in order of acceptance.
CREATE TABLE messages (
    seq               INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL,
    scope             INTEGER NOT NULL,
    recipient_count   INTEGER NOT NULL,
    configuration_set TEXT    NOT NULL,
    identity          TEXT    NOT NULL,
    source            TEXT    NOT NULL,
    return_path       TEXT    NOT NULL,
    subject           TEXT    NOT NULL,
    size              INTEGER NOT NULL,
    recipients        TEXT    NOT NULL, -- JSON array
    mail              BLOB    NOT NULL,
    payload           BLOB
);
-- Ids alone are unique; the other columns let quotas be counted from the index.
CREATE UNIQUE INDEX messages_id ON messages (id, scope, recipient_count);

-- Bodies, under the seq of their message. data is NULL when the body is the
-- file bodies/<message id>.
CREATE TABLE bodies (
    seq        INTEGER PRIMARY KEY,
    message_id BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    data       BLOB
);

CREATE TABLE events (
    id         BLOB    PRIMARY KEY,
    scope      INTEGER NOT NULL,
    message_id BLOB    NOT NULL,
    type       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    object     BLOB,
    late_tags  BLOB
) WITHOUT ROWID;
CREATE INDEX events_message ON events (message_id, id);

-- Units of work, clustered by the email they are about (empty for none): the
-- timeline of a message needs no further index, and a commit touches pages that
-- lie together. state: 0 waiting, 1 done, 2 dead.
CREATE TABLE units (
    message_id  BLOB    NOT NULL,
    id          BLOB    NOT NULL,
    scope       INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    lane        TEXT    NOT NULL,
    due         INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    event_id    BLOB,
    target      BLOB,
    envelope    BLOB,
    finished_at INTEGER,
    took        INTEGER, -- milliseconds of the attempt that ended it
    answer      TEXT,
    payload     BLOB,
    PRIMARY KEY (message_id, id)
) WITHOUT ROWID;
-- Claims, the skip scan over lanes, and backlogs. Finished units leave it.
CREATE INDEX units_waiting ON units (kind, lane, due, id) WHERE state = 0;
-- Dead letters, of a lane and of a scope.
CREATE INDEX units_dead_lane ON units (kind, lane, id) WHERE state = 2;
CREATE INDEX units_dead_scope ON units (scope, kind, id) WHERE state = 2;

-- Attempts that did not end their unit, the first and the last ten of each.
CREATE TABLE attempts (
    unit   BLOB    NOT NULL,
    n      INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    took   INTEGER NOT NULL,
    answer TEXT    NOT NULL,
    PRIMARY KEY (unit, n)
) WITHOUT ROWID;

-- Lanes that are not healthy.
CREATE TABLE lanes (
    kind          INTEGER NOT NULL,
    lane          TEXT    NOT NULL,
    hold_until    INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    paused        INTEGER NOT NULL,
    last_error    TEXT    NOT NULL,
    PRIMARY KEY (kind, lane)
) WITHOUT ROWID;

-- Messages published to topics, once for all subscriptions.
CREATE TABLE envelopes (
    seq   INTEGER PRIMARY KEY,
    id    BLOB    NOT NULL UNIQUE,
    scope INTEGER NOT NULL,
    data  BLOB
);

-- Messages in queues. AUTOINCREMENT: a sequence number is never used again.
CREATE TABLE queue_messages (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL,
    queue          BLOB    NOT NULL,
    visible_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    receives       INTEGER NOT NULL,
    receipt        INTEGER NOT NULL,
    first_received INTEGER NOT NULL,
    sent_at        INTEGER NOT NULL,
    group_id       TEXT    NOT NULL,
    dedup_id       TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    sender         TEXT    NOT NULL,
    source_queue   TEXT    NOT NULL,
    attributes     BLOB,
    body           BLOB
);
-- Receives of standard queues, and all counts, read nothing but this index.
-- expires_at is the largest number when the message does not expire.
CREATE INDEX queue_visible ON queue_messages (queue, visible_at, seq, receives, expires_at);
-- Receipts name a message by its id.
CREATE INDEX queue_ids ON queue_messages (queue, id);
-- FIFO queues are read in order of seq; only their messages (and those of fair
-- queues) have a group.
CREATE INDEX queue_groups ON queue_messages (queue, seq, group_id) WHERE group_id <> '';

-- Deduplication ids of the last five minutes. scope is the group where a queue
-- deduplicates per group, else empty.
CREATE TABLE queue_dedup (
    queue      BLOB    NOT NULL,
    scope      TEXT    NOT NULL,
    dedup_id   TEXT    NOT NULL,
    message_id TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (queue, scope, dedup_id)
) WITHOUT ROWID;
