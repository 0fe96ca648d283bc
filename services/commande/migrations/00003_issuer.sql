-- +goose Up

-- By what commande knows the ids of its own events again.
CREATE TABLE issuer (
    name         TEXT   NOT NULL PRIMARY KEY,
    secret       TEXT   NOT NULL,
    since_number BIGINT NOT NULL -- orders before it were given their ids without it
);

-- Order ids yet to come that others' records have: none of them is given.
CREATE TABLE foreign_ids (
    number BIGINT NOT NULL PRIMARY KEY
);

-- +goose Down
DROP TABLE foreign_ids;
DROP TABLE issuer;
