package audit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vigie-dev/vigie/internal/record"
)

// Place is where a record stands in the log.
type Place struct {
	record.Partition
	Offset int64
}

// String writes the place as topic/partition/offset.
func (p Place) String() string { return fmt.Sprintf("%s/%d/%d", p.Topic, p.ID, p.Offset) }

// parsePlace reads what [Place.String] writes.
func parsePlace(text string) (Place, bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" {
		return Place{}, false
	}
	id, badID := strconv.ParseInt(parts[1], 10, 32)
	offset, badOffset := strconv.ParseInt(parts[2], 10, 64)
	if badID != nil || badOffset != nil || id < 0 || offset < 0 {
		return Place{}, false
	}
	return Place{record.Partition{Topic: parts[0], ID: int32(id)}, offset}, true
}

// placeIn is any place in a partition.
func placeIn(topic string, partition int32) Place {
	return Place{Partition: record.Partition{Topic: topic, ID: partition}}
}
