-- +goose Up

-- From when on orders are decided, in microseconds since 1970: what became of
-- an order that is older may have been forgotten. One row, once there is such a
-- time. The ledger also has the orders whose payment was given up, status PURGED.
CREATE TABLE horizon (
    name         TEXT   NOT NULL PRIMARY KEY,
    decides_from BIGINT NOT NULL
);

-- +goose Down
DROP TABLE horizon;
