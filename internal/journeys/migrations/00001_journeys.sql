-- +goose Up

-- Every order that was accepted, as far as it is known from the topics. Times are
-- microseconds since 1970, 0 for none; amounts are cents. A row of stage 0 belongs to an
-- order of which only others' records are known.
CREATE TABLE journeys (
    order_id      TEXT   NOT NULL,
    event_id      TEXT   NOT NULL,
    amount        BIGINT NOT NULL DEFAULT 0,
    accepted_us   BIGINT NOT NULL DEFAULT 0,
    record_log    BIGINT NOT NULL DEFAULT 0,
    record_offset BIGINT NOT NULL DEFAULT 0,
    decided_us    BIGINT NOT NULL DEFAULT 0,
    result        BIGINT NOT NULL DEFAULT 0,
    result_amount BIGINT NOT NULL DEFAULT 0,
    result_log    BIGINT NOT NULL DEFAULT 0,
    result_offset BIGINT NOT NULL DEFAULT 0,
    aside_us      BIGINT NOT NULL DEFAULT 0,
    back_us       BIGINT NOT NULL DEFAULT 0,
    purged_us     BIGINT NOT NULL DEFAULT 0,
    visible_us    BIGINT NOT NULL DEFAULT 0,
    contradictory BIGINT NOT NULL DEFAULT 0,
    outcome       BIGINT NOT NULL DEFAULT 0,
    stage         BIGINT NOT NULL DEFAULT 0,
    touched_us    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, event_id)
);

CREATE INDEX journeys_uncounted ON journeys (accepted_us) WHERE outcome = 0 AND stage > 0;
CREATE INDEX journeys_waiting ON journeys (accepted_us) WHERE stage IN (1, 2);
CREATE INDEX journeys_invisible ON journeys (result_log, result_offset) WHERE stage = 2;
CREATE INDEX journeys_settled ON journeys (touched_us) WHERE stage IN (0, 4);

-- How many orders came to each outcome, for good.
CREATE TABLE outcomes (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO outcomes (name, value) VALUES
    ('in_time', 0), ('late', 0), ('dead_lettered', 0), ('purged', 0), ('lost', 0), ('contradictory', 0);

-- Each record that was set aside, by the group and its place; its letter may stand
-- in the topic several times. resolution is 0 while it waits, 1 when it was
-- replayed, 2 when it was purged.
CREATE TABLE letters (
    origin      TEXT   NOT NULL PRIMARY KEY,
    topic       TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    order_id    TEXT   NOT NULL,
    event_id    TEXT   NOT NULL,
    since_us    BIGINT NOT NULL,
    resolved_us BIGINT NOT NULL DEFAULT 0,
    resolution  BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX letters_waiting ON letters (topic, reason, since_us) WHERE resolution = 0;
CREATE INDEX letters_of_order ON letters (order_id);
CREATE INDEX letters_resolved ON letters (resolved_us) WHERE resolution > 0;

-- The copies of letters, and what markers say of them, which may be known first.
CREATE TABLE copies (
    place       TEXT   NOT NULL PRIMARY KEY,
    origin      TEXT   NOT NULL DEFAULT '',
    resolution  BIGINT NOT NULL DEFAULT 0,
    resolved_us BIGINT NOT NULL DEFAULT 0,
    seen_us     BIGINT NOT NULL
);

CREATE INDEX copies_oldest ON copies (seen_us);

-- +goose Down
DROP TABLE copies;
DROP TABLE letters;
DROP TABLE outcomes;
DROP TABLE journeys;
