package banking

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 9562 prescribes SHA-1 for version 5; no secret depends on it
	"encoding/hex"
)

// NewEventID returns a random UUID, version 4 (RFC 9562, section 5.4).
func NewEventID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the program instead
	return formatUUID(u, 4)
}

// ResultEventID returns the id of the event that decides originalEventID.
//
// It is a name-based UUID, version 5 (RFC 9562, section 5.5), in a namespace of
// Vigie's own, so that deciding the same event again, after a crash or by another
// instance, gives the same id and readers can drop the repetition.
func ResultEventID(originalEventID string) string {
	return nameUUID(resultNamespace(), originalEventID)
}

// resultNamespace is a random UUID, chosen once. Changing it would change the id of
// every result that is decided again.
func resultNamespace() [16]byte {
	return [16]byte{0x6f, 0x8c, 0x04, 0x76, 0xd0, 0x5d, 0x43, 0x4b, 0x9e, 0x6a, 0x51, 0xdf, 0x2c, 0xd2, 0xb2, 0xa7}
}

func nameUUID(namespace [16]byte, name string) string {
	sum := sha1.Sum(append(namespace[:], name...)) //nolint:gosec // see the import
	return formatUUID([16]byte(sum[:16]), 5)
}

// formatUUID sets version and variant and returns the text form (RFC 9562, section 4).
func formatUUID(u [16]byte, version byte) string {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], u[:4])
	hex.Encode(text[9:13], u[4:6])
	hex.Encode(text[14:18], u[6:8])
	hex.Encode(text[19:23], u[8:10])
	hex.Encode(text[24:], u[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
