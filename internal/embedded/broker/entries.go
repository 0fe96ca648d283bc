package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// The layout of an entry of kfake's groups.log and pids.log: a length that counts
// from after the checksum, CRC-32C, a version, and JSON.
const (
	entrySum     = 4
	entryBody    = 8
	entryLeast   = 2
	entryVersion = 1
)

// checkEntries reads a log of entries and returns how many of its bytes are whole
// entries. What comes after them is a torn write; anything else is a [*Damage].
func checkEntries(path string) (good, size int64, err error) {
	raw, err := os.ReadFile(path) //nolint:gosec // in the operator's folder
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("check entries: %w", err)
	}
	at := 0
	for at < len(raw) {
		n, whole := entry(raw[at:])
		if !whole {
			if tornEntry(raw[at:]) {
				break
			}
			return int64(at), int64(len(raw)), &Damage{File: path, At: int64(at), What: "the entry does not match its checksum"}
		}
		at += n
	}
	return int64(at), int64(len(raw)), nil
}

// entry returns the size of the whole entry that b starts with.
func entry(b []byte) (size int, ok bool) {
	if len(b) < entryBody+entryLeast {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < entryLeast || n > int64(len(b)-entryBody) {
		return 0, false
	}
	body := b[entryBody : entryBody+n]
	return entryBody + int(n), crc32.Checksum(body, checksums()) == binary.LittleEndian.Uint32(b[entrySum:]) &&
		binary.LittleEndian.Uint16(body) == entryVersion
}

// tornEntry says whether b is what is left of an entry whose write was cut short.
// As for batches, an entry that is whole but for its length is damage.
func tornEntry(b []byte) bool {
	zeros := true
	for _, c := range b {
		zeros = zeros && c == 0
	}
	if zeros || len(b) < entryBody {
		return true
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n <= int64(len(b)-entryBody) {
		return false
	}
	table, wanted, sum := checksums(), binary.LittleEndian.Uint32(b[entrySum:]), uint32(0)
	for i := entryBody; i < len(b); i++ {
		if sum = crc32.Update(sum, table, b[i:i+1]); sum == wanted {
			return false
		}
	}
	return true
}
