package broker

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

const day = 24 * time.Hour

func TestRetentionRunsAfterARestart(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	c := client(t, b)
	makeTopic(t, c, "segment.bytes", "150")
	publish(t, c, time.Now().Add(-8*day), values(6)...)
	publish(t, c, time.Now(), values(2)...)
	end(t, b)
	b, _ = begin(t, folder)
	defer end(t, b)
	if start, next := bounds(t, client(t, b)); start != 6 || next != 8 {
		t.Errorf("the log goes from %d to %d, want 6 to 8", start, next)
	}
}

// A log that retention has emptied goes on at the offset at which it ended.
func TestAnEmptiedLogKeepsItsPlace(t *testing.T) {
	stopped := t.TempDir()
	b, _ := begin(t, stopped)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now().Add(-8*day), values(5)...)
	end(t, b)
	for range 2 { // empties, and finds it emptied
		b, _ = begin(t, stopped)
		if start, next := bounds(t, client(t, b)); start != 5 || next != 5 {
			t.Fatalf("the log goes from %d to %d, want 5 to 5", start, next)
		}
		end(t, b)
	}
	b, _ = begin(t, stopped)
	killed := t.TempDir()
	copyTree(t, stopped, killed)
	end(t, b)
	for _, folder := range []string{stopped, killed} {
		b, _ = begin(t, folder)
		c := client(t, b)
		publish(t, c, time.Now(), "next")
		if got := read(t, c); len(got) != 1 || got[5] != "next" {
			t.Errorf("the log has %v, want the record at 5", got)
		}
		end(t, b)
	}
}

// A record whose time is long past, or none, is no reason to delete others.
func TestAnOldRecordTakesNoOtherAway(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	c := client(t, b)
	makeTopic(t, c, "segment.bytes", "150")
	publish(t, c, time.Now(), values(4)...)
	publish(t, c, time.UnixMilli(1), values(4)...)
	end(t, b)
	b, _ = begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 8 {
		t.Errorf("%d records are left of 8", len(got))
	}
}

// Time in which the broker did not run, or that only the wall clock knows of,
// makes nothing old.
func TestRecordsDoNotAgeWhileNobodyCouldReadThem(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now().Add(-8*day), values(3)...)
	end(t, b)
	dir := filepath.Join(folder, brokerFolder)
	s, err := readSeal(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Clock = time.Now().Add(-8 * day).UnixMilli() // it last ran then
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	b, _ = begin(t, folder)
	defer end(t, b)
	if got := read(t, client(t, b)); len(got) != 3 {
		t.Errorf("%d records are left of 3", len(got))
	}
}

func TestALargeLogIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		own   []string // the topic's settings
		bytes int64    // the broker's for it
	}{
		"by its own setting":  {[]string{"retention.bytes", "400"}, 1 << 30},
		"by the broker's own": {nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			b, _ := begin(t, folder)
			c1 := client(t, b)
			makeTopic(t, c1, append(c.own, "segment.bytes", "150")...)
			publish(t, c1, time.Now(), values(20)...)
			end(t, b)
			b, _ = begin(t, folder, func(cfg *Config) { cfg.TopicBytes = map[string]int64{testTopic: c.bytes} })
			defer end(t, b)
			start, next := bounds(t, client(t, b))
			if start < 10 || start > 16 || next != 20 {
				t.Errorf("the log goes from %d to %d, want about four records before 20", start, next)
			}
		})
	}
}

func TestDeletedRecordsStayDeletedAfterACrash(t *testing.T) {
	folder := t.TempDir()
	b, _ := begin(t, folder)
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c, "segment.bytes", "150")
	publish(t, c, time.Now(), values(5)...)
	admin := adminOf(t, c)
	for _, to := range []int64{3, 5} { // within a segment, and everything
		if err := admin.DeleteRecords(testTopic, map[int32]int64{0: to}); err != nil {
			t.Fatal(err)
		}
		killed := t.TempDir()
		copyTree(t, folder, killed)
		again, _ := begin(t, killed)
		if start, next := bounds(t, client(t, again)); start != to || next != 5 {
			t.Errorf("after a crash the log goes from %d to %d, want %d to 5", start, next, to)
		}
		end(t, again)
	}
}

// The interval of retention is kfake's setting, as far as anybody can see.
func TestTheIntervalCanBeSet(t *testing.T) {
	b, _ := begin(t, t.TempDir())
	defer end(t, b)
	c := client(t, b)
	makeTopic(t, c)
	publish(t, c, time.Now().Add(-8*day), values(3)...)
	every := "20"
	err := adminOf(t, c).IncrementalAlterConfig(sarama.BrokerResource, "", map[string]sarama.IncrementalAlterConfigsEntry{
		intervalSetting: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &every},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for start := int64(0); start != 3; start, _ = bounds(t, c) {
		if time.Now().After(deadline) {
			t.Fatal("retention does not run")
		}
	}
}

func adminOf(t *testing.T, c sarama.Client) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(c) // not closed: the client is another's
	if err != nil {
		t.Fatal(err)
	}
	return admin
}
