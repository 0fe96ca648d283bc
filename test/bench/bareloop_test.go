package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/vigie-dev/vigie/internal/banking"
)

// bareTables makes paiement's ledger.
func bareTables() []string {
	return []string{
		`CREATE TABLE ledger (order_id TEXT NOT NULL PRIMARY KEY, event_id TEXT NOT NULL, result_event_id TEXT NOT NULL,
			status TEXT NOT NULL, amount BIGINT NOT NULL, processed_at BIGINT NOT NULL)`,
		`CREATE INDEX ledger_oldest_first ON ledger (processed_at)`,
	}
}

const insertBare = `INSERT INTO ledger (order_id, event_id, result_event_id, status, amount, processed_at) VALUES (?, ?, ?, ?, ?, ?)`

// bareWork is what a bare loop does with a record.
type bareWork func(m *sarama.ConsumerMessage) (row []any, result *sarama.ProducerMessage, err error)

// copyRecord looks at nothing.
func copyRecord(m *sarama.ConsumerMessage) ([]any, *sarama.ProducerMessage, error) {
	result := &sarama.ProducerMessage{Topic: benchResults, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value)}
	return []any{string(m.Key), "", "", "", 0, m.Offset}, result, nil
}

// decideBarely authorises every order, by encoding/json alone.
func decideBarely(m *sarama.ConsumerMessage) ([]any, *sarama.ProducerMessage, error) {
	var order bareEvent
	if err := json.Unmarshal(m.Value, &order); err != nil {
		return nil, nil, err
	}
	cents, err := order.Amount.Float64()
	if err != nil {
		return nil, nil, err
	}
	payment := struct {
		EventID           string      `json:"eventId"`
		OrderID           string      `json:"orderId"`
		UserID            string      `json:"userId"`
		Amount            json.Number `json:"amount"`
		Status            string      `json:"status"`
		AuthorizationCode string      `json:"authorizationCode"`
		ProcessedAt       time.Time   `json:"processedAt"`
	}{uuid.NewString(), order.OrderID, order.UserID, order.Amount, "AUTHORIZED", "AUTH-000000", time.Now().UTC()}
	value, err := json.Marshal(payment)
	if err != nil {
		return nil, nil, err
	}
	row := []any{order.OrderID, order.EventID, payment.EventID, payment.Status, int64(cents * 100), payment.ProcessedAt.UnixMicro()}
	return row, &sarama.ProducerMessage{
		Topic: benchResults, Key: sarama.StringEncoder(order.OrderID), Value: sarama.ByteEncoder(value),
		Headers: []sarama.RecordHeader{
			{Key: []byte("eventId"), Value: []byte(payment.EventID)},
			{Key: []byte("eventType"), Value: []byte("PaymentAuthorized")},
			{Key: []byte("originalEventId"), Value: []byte(order.EventID)},
		},
	}, nil
}

// bareLoop is the other side's consumer.
type bareLoop struct {
	db       *sql.DB
	work     bareWork
	producer sarama.SyncProducer
	done     chan int
}

func (*bareLoop) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*bareLoop) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (l *bareLoop) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for first := range claim.Messages() {
		batch := []*sarama.ConsumerMessage{first}
	fill:
		for len(batch) < 500 {
			select {
			case m, ok := <-claim.Messages():
				if !ok {
					break fill
				}
				batch = append(batch, m)
			default:
				break fill
			}
		}
		if err := l.process(batch); err != nil {
			return err
		}
		session.MarkMessage(batch[len(batch)-1], "")
		l.done <- len(batch)
	}
	return nil
}

func (l *bareLoop) process(batch []*sarama.ConsumerMessage) error {
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.Prepare(insertBare)
	if err != nil {
		return err
	}
	defer func() { _ = insert.Close() }()
	results := make([]*sarama.ProducerMessage, len(batch))
	for i, m := range batch {
		row, result, err := l.work(m)
		if err != nil {
			return err
		}
		if _, err := insert.Exec(row...); err != nil {
			return err
		}
		results[i] = result
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return l.producer.SendMessages(results)
}

func bareDecideRate(b *testing.B, address string, work bareWork) float64 {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	for _, table := range bareTables() {
		if _, err := db.Exec(table); err != nil {
			b.Fatal(err)
		}
	}
	cfg := sarama.NewConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.ChannelBufferSize = 1024
	cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests, cfg.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer([]string{address}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = producer.Close() }()
	group, err := sarama.NewConsumerGroup([]string{address}, fmt.Sprintf("bare-%d", time.Now().UnixNano()), cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = group.Close() }()
	l := &bareLoop{db: db, work: work, producer: producer, done: make(chan int, 1024)}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- group.Consume(ctx, []string{banking.TopicOrdersCreated}, l) }()
	var start time.Time
	begun, decided := 0, 0
	for decided < benchRecords {
		select {
		case n := <-l.done:
			if decided += n; begun == 0 {
				begun, start = n, time.Now()
			}
		case err := <-ended:
			b.Fatal(err)
		}
	}
	rate := float64(benchRecords-begun) / time.Since(start).Seconds()
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	return rate
}
