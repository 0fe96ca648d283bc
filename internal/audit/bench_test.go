package audit

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/delivery"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/record"
)

// bulk is a settled system with many orders, of which nothing is kept: each
// record and each row is made when it is read.
type bulk struct {
	orders int64
	began  time.Time
}

func (b bulk) order(n int64) banking.OrderCreated {
	return banking.OrderCreated{
		EventID: fmt.Sprintf("5f0c7c1e-7f3a-4b52-8c6d-%012d", n), OrderID: fmt.Sprintf("order-%d", n+1), UserID: fmt.Sprintf("user-%d", n%1000),
		Amount: banking.Money(n%100_000 + 1), Items: []string{"book", "pen"}, Status: banking.StatusCreated, CreatedAt: b.at(n),
	}
}

func (b bulk) at(n int64) time.Time { return b.began.Add(time.Duration(n) * 5 * time.Millisecond) }

func (b bulk) decision(n int64) banking.PaymentAuthorized {
	o := b.order(n)
	return banking.PaymentAuthorized{
		EventID: banking.ResultEventID(o.EventID), OrderID: o.OrderID, UserID: o.UserID, Amount: o.Amount, Status: banking.StatusAuthorized,
		AuthorizationCode: fmt.Sprintf("AUTH-%d", n), ProcessedAt: o.CreatedAt.Add(20 * time.Millisecond),
	}
}

// record is what stands at an offset.
func (b bulk) record(at record.Place) record.Record {
	n := at.Offset*banking.Partitions + int64(at.ID)
	var m record.Message
	if o := b.order(n); at.Topic == banking.TopicOrdersCreated {
		m = must(delivery.Encode(o, ""))
	} else {
		m = must(delivery.Encode(b.decision(n), o.EventID))
	}
	return record.Record{Place: at, Key: m.Key, Value: m.Value, Headers: m.Headers, Time: b.at(n)}
}

func (b bulk) spans(topics ...string) (out []kafka.Span) {
	for _, topic := range topics {
		for id := range int32(banking.Partitions) {
			s := kafka.Span{Partition: record.Partition{Topic: topic, ID: id}}
			if topic == banking.TopicOrdersCreated || topic == banking.TopicPaymentsAuthorized {
				s.End = b.orders / banking.Partitions
			}
			out = append(out, s)
		}
	}
	return out
}

func (b bulk) positions() Positions {
	out := Positions{}
	for _, s := range b.spans(topics()...) {
		out[s.Partition] = s.End
	}
	return out
}

func (b bulk) state(rows *Rows) (State, error) {
	total, minutes := Sum{}, map[int64]Minute{}
	for n := range b.orders {
		o, d := b.order(n), b.decision(n)
		total = total.Plus(o.Amount)
		minute := d.ProcessedAt.Unix() / 60
		minutes[minute] = Minute{minute, minutes[minute].Count + 1, minutes[minute].Amount + o.Amount}
		err := rows.Ledger(LedgerRow{o.OrderID, o.EventID, d.EventID, d.Status, d.Amount, d.ProcessedAt})
		if err == nil {
			err = rows.Transaction(Transaction{o.OrderID, d.EventID, d.UserID, d.Status, d.Amount, d.ProcessedAt})
		}
		if err == nil {
			err = rows.View(View{
				OrderID: o.OrderID, UserID: o.UserID, Amount: o.Amount, Items: o.Items, Status: banking.OrderStatusAuthorized,
				AuthorizationCode: d.AuthorizationCode, CreatedAt: o.CreatedAt, ProcessedAt: d.ProcessedAt, ListedAt: o.CreatedAt, UpdatedAt: d.ProcessedAt,
				History: []Moment{{o.EventID, o.Type(), o.CreatedAt}, {d.EventID, d.Type(), d.ProcessedAt}},
			})
		}
		if err != nil {
			return State{}, err
		}
	}
	for _, m := range minutes {
		if err := rows.Minute(m); err != nil {
			return State{}, err
		}
	}
	at := b.positions()
	return State{
		Paiement: &Paiement{Positions: at}, Suivi: &Suivi{at, map[banking.OrderStatus]int64{banking.OrderStatusAuthorized: b.orders}}, Analyseur: &Analyseur{at, map[string]Sum{banking.StatusAuthorized: total}},
	}, nil
}

// config is an audit of it.
func (b bulk) config() Config {
	return Config{
		Bounds:  func(topics ...string) ([]kafka.Span, error) { return b.spans(topics...), nil },
		Written: func(context.Context, ...string) (map[record.Partition]int64, error) { return nil, nil },
		Scan: func(_ context.Context, spans []kafka.Span, read func(record.Record) error) error {
			var group errgroup.Group
			for _, s := range spans {
				group.Go(func() error {
					for i := s.Start; i < s.End; i++ {
						if err := read(b.record(record.Place{Partition: s.Partition, Offset: i})); err != nil {
							return err
						}
					}
					return nil
				})
			}
			return group.Wait()
		},
		State: func(_ context.Context, rows *Rows) (State, error) { return b.state(rows) },
		Limit: 1,
	}
}

// BenchmarkAudit audits a million decided orders: what an audit costs beside
// reading records from Kafka and rows from storage. Making the records and rows
// is a third of it.
func BenchmarkAudit(b *testing.B) {
	system := bulk{999_999, time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC)}
	for b.Loop() {
		cfg := system.config()
		cfg.Dir = b.TempDir()
		report, err := Run(context.Background(), cfg)
		if err != nil || !report.AccountedFor || report.Authorized.Count != system.orders {
			b.Fatalf("%v, %+v", err, report)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(system.orders), "ns/order")
	b.ReportMetric(peakMemory()/1e6, "MB-peak")
}

// BenchmarkAuditAgain audits the same orders with an auditor that has read the log
// before: what a run costs of a schedule.
func BenchmarkAuditAgain(b *testing.B) {
	system := bulk{999_999, time.Date(1999, 5, 1, 12, 0, 0, 0, time.UTC)}
	cfg := system.config()
	cfg.Dir, cfg.Memory = b.TempDir(), 8<<20
	a := again(b, cfg)
	if _, err := a.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		report, err := a.Run(b.Context())
		if err != nil || !report.AccountedFor || report.Authorized.Count != system.orders {
			b.Fatalf("%v, %+v", err, report)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(system.orders), "ns/order")
	b.ReportMetric(peakMemory()/1e6, "MB-peak")
}

// peakMemory is the most that the process has had resident, in bytes, or 0
// where the system does not say.
func peakMemory() float64 {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kilobytes float64
			if _, err := fmt.Sscan(rest, &kilobytes); err == nil {
				return kilobytes * 1024
			}
		}
	}
	return 0
}
