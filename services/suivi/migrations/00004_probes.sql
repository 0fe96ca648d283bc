-- +goose Up

-- Probes, as orders are kept: apart from them, so that no list and no count has one. Only
-- the last are here.
CREATE TABLE probes (
    order_id           TEXT   NOT NULL PRIMARY KEY,
    user_id            TEXT   NOT NULL,
    amount             BIGINT NOT NULL,
    items              TEXT   NOT NULL,
    status             TEXT   NOT NULL,
    authorization_code TEXT   NOT NULL,
    rejection_reason   TEXT   NOT NULL,
    failure_reason     TEXT   NOT NULL,
    created_at         BIGINT NOT NULL,
    processed_at       BIGINT NOT NULL,
    listed_at          BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    events             TEXT   NOT NULL,
    revision           BIGINT NOT NULL
);

CREATE INDEX probes_oldest_first ON probes (updated_at);

-- +goose Down
DROP TABLE probes;
