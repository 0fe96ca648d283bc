package kafka

import (
	"fmt"
	"testing"

	"github.com/IBM/sarama"

	"github.com/vigie-dev/vigie/internal/record"
)

// batch is one of a log, with a record at each of the offsets. It ends at last.
func batch(last int64, offsets ...int64) *sarama.RecordBatch {
	b := &sarama.RecordBatch{FirstOffset: offsets[0], LastOffsetDelta: int32(last - offsets[0])}
	for _, o := range offsets {
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: o - offsets[0]})
	}
	return b
}

// Offsets that nothing fills are told, and what transactions leave is not.
func TestHolesAreTold(t *testing.T) {
	marker, aborted := batch(7, 7), batch(6, 5, 6)
	marker.Control, marker.ProducerID = true, 1
	marker.Records[0].Key = []byte{0, 0, 0, 0}
	aborted.IsTransactional, aborted.ProducerID = true, 1
	lost := batch(22, 22) // as a salvage leaves it
	lost.FirstOffset, lost.LastOffsetDelta, lost.Control, lost.ProducerID = 21, 1, true, -1
	all := []*sarama.RecordBatch{batch(4, 3, 4), aborted, marker, batch(12, 10, 12), batch(20, 15, 16), lost}
	block := &sarama.FetchResponseBlock{AbortedTransactions: []*sarama.AbortedTransaction{{ProducerID: 1, FirstOffset: 5}}}
	for _, b := range all {
		block.RecordsSet = append(block.RecordsSet, &sarama.Records{RecordBatch: b})
	}
	for _, tt := range []struct {
		from, end int64
		want      string
	}{
		{0, 23, "[0-2] 3 4 [8-9] 10 [11-11] 12 [13-14] 15 16 [17-20] [21-22]"},
		{4, 12, "4 [8-9] 10 [11-11]"},
		{11, 18, "[11-11] 12 [13-14] 15 16 [17-17]"},
		{16, 17, "16"},
		{9, 14, "[9-9] 10 [11-11] 12 [13-13]"},
	} {
		p := record.Partition{Topic: "t"}
		piece, err := committed(p, tt.from, block)
		if err != nil || piece.next != 23 {
			t.Fatalf("up to %d: %v", piece.next, err)
		}
		got := ""
		err = piece.give(t.Context(), Span{p, tt.from, tt.end},
			func(r record.Record) error { got += fmt.Sprint(" ", r.Offset); return nil },
			func(h Span) { got += fmt.Sprintf(" [%d-%d]", h.Start, h.End-1) })
		if err != nil || got != " "+tt.want {
			t.Errorf("%d to %d: %s (%v), want %s", tt.from, tt.end, got, err, tt.want)
		}
	}
}
