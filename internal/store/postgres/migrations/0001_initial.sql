-- The first schema. Times are Unix milliseconds (0 or NULL: none). Ids are the
-- 16 bytes of a sestina.ID, which sort by time; where the zero id is part of a
-- key it stands for "none". Text that others choose freely is bytea, because
-- text cannot hold every byte; what is compared or sorted is in byte order.

-- Accounts and regions, interned: rows of the hot path carry the small number.
CREATE TABLE scopes (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    region  text NOT NULL,
    UNIQUE (account, region)
);

-- One row per writing goroutine of every node, changed by each of its
-- transactions: after a lost connection it tells whether the last one was
-- committed. A closed writer commits nothing any more.
CREATE TABLE writers (
    id     uuid    PRIMARY KEY,
    batch  bigint  NOT NULL,
    closed boolean NOT NULL DEFAULT false,
    at     bigint  NOT NULL
) WITH (fillfactor = 50);

-- The control plane. A deleted document stays as a tombstone, so that whoever
-- reads "newer than revision n" hears of the deletion. Revisions are given out
-- under a lock that is held until the commit, so they become visible in order.
CREATE SEQUENCE revisions;
CREATE TABLE documents (
    account  text    COLLATE "C" NOT NULL,
    region   text    COLLATE "C" NOT NULL,
    kind     text    COLLATE "C" NOT NULL,
    name     text    COLLATE "C" NOT NULL,
    version  bigint  NOT NULL,
    revision bigint  NOT NULL,
    deleted  boolean NOT NULL,
    data     bytea,
    PRIMARY KEY (account, region, kind, name)
);
CREATE UNIQUE INDEX documents_revision ON documents (revision);

-- Accepted emails. Quotas are counted from the index alone.
CREATE TABLE messages (
    id                uuid     NOT NULL,
    scope             integer  NOT NULL,
    recipient_count   integer  NOT NULL,
    size              bigint   NOT NULL,
    configuration_set text     NOT NULL,
    identity          text     NOT NULL,
    source            bytea    NOT NULL,
    return_path       bytea    NOT NULL,
    subject           bytea    NOT NULL,
    recipients        text     NOT NULL, -- JSON array
    mail              bytea    NOT NULL,
    payload           bytea,
    PRIMARY KEY (id) INCLUDE (scope, recipient_count)
) WITH (toast_tuple_target = 8160);

-- Bodies of messages. data is NULL when the body is in body_chunks. Mail does
-- not compress well enough to be worth the time.
CREATE TABLE bodies (
    message_id uuid   PRIMARY KEY,
    size       bigint NOT NULL,
    data       bytea
) WITH (toast_tuple_target = 8160);
ALTER TABLE bodies ALTER COLUMN data SET STORAGE EXTERNAL;

-- Large bodies in pieces, also those that are staged and have no row in bodies
-- yet.
CREATE TABLE body_chunks (
    message_id uuid    NOT NULL,
    n          integer NOT NULL,
    staged_at  bigint  NOT NULL,
    data       bytea   NOT NULL,
    PRIMARY KEY (message_id, n)
);
ALTER TABLE body_chunks ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE events (
    id         uuid    PRIMARY KEY,
    scope      integer NOT NULL,
    message_id uuid    NOT NULL,
    type       text    NOT NULL,
    at         bigint  NOT NULL,
    object     bytea,
    late_tags  bytea
);
CREATE INDEX events_message ON events (message_id, id);

-- Units of work. The email they are about comes first in the key, so that the
-- timeline of a message needs no index of its own. state: 0 waiting, 1 done,
-- 2 dead. A lease is a token and, by this database's clock, its end; claims
-- touch no index, so rows leave room for them on their page.
CREATE TABLE units (
    message_id  uuid     NOT NULL,
    id          uuid     NOT NULL,
    scope       integer  NOT NULL,
    kind        smallint NOT NULL,
    state       smallint NOT NULL,
    attempts    integer  NOT NULL,
    due         bigint   NOT NULL,
    lease_token bigint   NOT NULL DEFAULT 0,
    lease_until bigint   NOT NULL DEFAULT 0,
    finished_at bigint,
    took        bigint, -- milliseconds of the attempt that ended it
    event_id    uuid,
    target      uuid,
    envelope    uuid,
    lane        text     COLLATE "C" NOT NULL,
    answer      text,
    payload     bytea,
    PRIMARY KEY (message_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
-- Claims, the skip scan over lanes, and backlogs. Finished units leave it.
CREATE INDEX units_waiting ON units (kind, lane, due, id) WHERE state = 0;
-- Dead letters, of a lane and of a scope.
CREATE INDEX units_dead_lane ON units (kind, lane, id) WHERE state = 2;
CREATE INDEX units_dead_scope ON units (scope, kind, id) WHERE state = 2;

-- Attempts that did not end their unit, the first and the last ten of each.
CREATE TABLE attempts (
    unit   uuid    NOT NULL,
    n      integer NOT NULL,
    at     bigint  NOT NULL,
    took   bigint  NOT NULL,
    answer text    NOT NULL,
    PRIMARY KEY (unit, n)
);

-- Lanes that are not healthy.
CREATE TABLE lanes (
    kind          smallint NOT NULL,
    lane          text     COLLATE "C" NOT NULL,
    hold_until    bigint   NOT NULL,
    failing_since bigint   NOT NULL,
    failures      bigint   NOT NULL,
    paused        boolean  NOT NULL,
    last_error    text     NOT NULL,
    PRIMARY KEY (kind, lane)
);

-- Messages published to topics, once for all subscriptions.
CREATE TABLE envelopes (
    id    uuid    PRIMARY KEY,
    scope integer NOT NULL,
    data  bytea   NOT NULL
) WITH (toast_tuple_target = 8160);

-- Messages in queues. expires_at is the largest number when the message does
-- not expire. Receives of FIFO queues go by the primary key.
CREATE SEQUENCE queue_seq;
CREATE TABLE queue_messages (
    queue          uuid    NOT NULL,
    seq            bigint  NOT NULL,
    id             uuid    NOT NULL,
    visible_at     bigint  NOT NULL,
    expires_at     bigint  NOT NULL,
    receipt        bigint  NOT NULL,
    first_received bigint  NOT NULL,
    sent_at        bigint  NOT NULL,
    receives       integer NOT NULL,
    group_id       text    NOT NULL,
    dedup_id       text    NOT NULL,
    message_id     text    NOT NULL,
    sender         text    NOT NULL,
    source_queue   text    NOT NULL,
    attributes     bytea,
    body           bytea,
    PRIMARY KEY (queue, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
-- Receives of standard queues, and counts.
CREATE INDEX queue_visible ON queue_messages (queue, visible_at, seq) INCLUDE (receives, expires_at);
-- Receipts name a message by its id.
CREATE INDEX queue_ids ON queue_messages (queue, id);

-- Deduplication ids of the last five minutes. scope is the group where a queue
-- deduplicates per group, else empty; id is the message that was added.
CREATE TABLE queue_dedup (
    queue      uuid   NOT NULL,
    scope      text   NOT NULL,
    dedup_id   text   NOT NULL,
    id         uuid   NOT NULL,
    message_id text   NOT NULL,
    seq        bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (queue, scope, dedup_id)
);

-- Ends a transaction when there are members, and names them in the error's
-- detail: a set-wise statement refuses what does not fit without a round trip.
CREATE FUNCTION refuse(code text, members bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(members) > 0 THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = code, DETAIL = array_to_string(members, ',');
    END IF;
END $$;
