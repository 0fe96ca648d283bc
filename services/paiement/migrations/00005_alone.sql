-- +goose Up

-- The horizon of a ledger that would have to be made from the topics, where this one
-- knows that a topic was made again: the rows of such a horizon, and
-- under 'generation' how often that has come about.
CREATE TABLE alone (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

-- +goose Down
DROP TABLE alone;
