-- +goose Up

-- The number that the next block of order ids begins with.
CREATE TABLE order_ids (
    name        TEXT   NOT NULL PRIMARY KEY,
    next_number BIGINT NOT NULL
);

INSERT INTO order_ids (name, next_number) VALUES ('order', 1);

-- +goose Down
DROP TABLE order_ids;
