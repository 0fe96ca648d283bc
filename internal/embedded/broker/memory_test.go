//go:build integration

package broker

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a start keeps in memory of a log is its index, and not its records.
func TestMemoryDoesNotHoldTheLog(t *testing.T) {
	const batches, perBatch = 300_000, 120 // bytes; kfake's entry has 72, and a slice that grows has room
	folder := t.TempDir()
	b, _ := begin(t, folder)
	makeTopic(t, client(t, b))
	end(t, b)
	if err := os.Remove(filepath.Join(folder, brokerFolder, sealFile)); err != nil { // it knows of no records
		t.Fatal(err)
	}
	bytes := writeLog(t, filepath.Join(folder, brokerFolder, logFolder, partsFolder, testTopic+"-0"), batches)

	before := heap()
	b, _ = begin(t, folder)
	defer end(t, b)
	if grown := heap() - before; grown > batches*perBatch {
		t.Errorf("a log of %d bytes in %d batches takes %d bytes of memory, want at most %d for each batch", bytes, batches, grown, perBatch)
	}
	if _, next := bounds(t, client(t, b)); next != batches {
		t.Errorf("the log ends at %d", next)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// writeLog writes segments of n batches with a record each, as an order's is.
func writeLog(t *testing.T, dir string, n int) (bytes int64) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMilli()
	var segment []byte
	base := 0
	for i := range n {
		record := kmsg.Record{Key: []byte(fmt.Sprint("order-", i)), Value: make([]byte, 500)}
		record.Length = int32(len(record.AppendTo(nil)) - 1) // the length of 0 takes a byte
		at := len(segment)
		segment = append(append(segment, hole(int64(i), int64(i), now)[:headerSize]...), record.AppendTo(nil)...)
		binary.BigEndian.PutUint16(segment[at+atAttributes:], 0)
		sealed(segment[at:])
		if len(segment) < SegmentBytes && i < n-1 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.dat", base)), segment, 0o600); err != nil {
			t.Fatal(err)
		}
		bytes, segment, base = bytes+int64(len(segment)), segment[:0], i+1
	}
	return bytes
}
