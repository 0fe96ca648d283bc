-- +goose Up

-- The list of orders of one status, and how many there are of each: the counters
-- are those of the statuses, whose sum is the number of all orders.
CREATE INDEX orders_of_status ON orders (status, listed_at DESC, order_id DESC);

DELETE FROM counters;

INSERT INTO counters (name, value) VALUES
    ('ORDER_CREATED', 0), ('PAYMENT_FAILED', 0), ('PAYMENT_AUTHORIZED', 0), ('PAYMENT_REJECTED', 0);

UPDATE counters SET value = (SELECT COUNT(*) FROM orders WHERE orders.status = counters.name);

-- +goose Down
DELETE FROM counters;
INSERT INTO counters (name, value) SELECT 'orders', COUNT(*) FROM orders;
DROP INDEX orders_of_status;
