-- +goose Up

-- An event's amount obeys the bound of an order's, 1,000,000.00 euros: what has
-- been counted above it came from elsewhere and goes. Such amounts can have made
-- a total leave 64 bits, where SQLite goes on with an approximation: it is then
-- made again of what is still here.
UPDATE totals SET
    count = CASE WHEN amount > 9223372036854775807
        THEN (SELECT COUNT(*) FROM transactions t WHERE t.status = totals.status AND t.amount <= 100000000)
        ELSE count - (SELECT COUNT(*) FROM transactions t WHERE t.status = totals.status AND t.amount > 100000000) END,
    amount = CASE WHEN amount > 9223372036854775807
        THEN (SELECT COALESCE(SUM(t.amount), 0) FROM transactions t WHERE t.status = totals.status AND t.amount <= 100000000)
        ELSE amount - (SELECT COALESCE(SUM(t.amount), 0) FROM transactions t WHERE t.status = totals.status AND t.amount > 100000000) END
WHERE amount > 9223372036854775807
    OR EXISTS (SELECT 1 FROM transactions t WHERE t.status = totals.status AND t.amount > 100000000);

-- The minutes they were counted in are of no use after an hour.
DELETE FROM minutes WHERE minute IN (SELECT processed_at / 60000000 FROM transactions WHERE amount > 100000000);

DELETE FROM transactions WHERE amount > 100000000;

-- +goose Down
SELECT 1;
