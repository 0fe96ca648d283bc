package record

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Headers that a dead letter adds to those of the record it holds.
const (
	HeaderOriginalTopic     = "originalTopic"
	HeaderOriginalPartition = "originalPartition"
	HeaderOriginalOffset    = "originalOffset"
	HeaderConsumerGroup     = "consumerGroup"
	HeaderAttempts          = "attempts"
	HeaderErrorClass        = "errorClass"
	HeaderErrorReason       = "errorReason"
	HeaderErrorMessage      = "errorMessage"
	HeaderFailedAt          = "failedAt"
)

// maxAdded bounds each header that a dead letter adds, in bytes.
const maxAdded = 1024

// Origin is what a dead letter says of the record that it holds: where it
// stood, and why it was set aside.
type Origin struct {
	Place    Place  // where the record stood that failed
	EventID  string // of the record's event; "" where it had none
	Group    string // the consumer group that set the record aside
	Attempts int    // how often it was tried
	Class    string // of the failure
	Reason   string
	Message  string // the last try's error
	FailedAt time.Time
}

var (
	// ErrNotDeadLetter: the record lacks the headers of a dead letter. No loop
	// has set it aside.
	ErrNotDeadLetter = errors.New("not a dead letter")
	// ErrOrigin: a dead letter does not say plainly where it comes from.
	ErrOrigin = errors.New("a dead letter whose origin cannot be read")
)

// Headers are what a dead letter adds, in the order that [ParseOrigin] wants.
// They stand before the headers of the record, so that the record can be
// restored exactly whatever names its own have, and so that it cannot say
// itself where it came from. Each is cut to 1,024 bytes.
func (o Origin) Headers() []Header {
	values := []string{
		o.EventID, o.Place.Topic, strconv.Itoa(int(o.Place.ID)), strconv.FormatInt(o.Place.Offset, 10),
		o.Group, strconv.Itoa(o.Attempts), o.Class, o.Reason, o.Message, o.FailedAt.UTC().Format(time.RFC3339Nano),
	}
	headers := make([]Header, len(values))
	for i, name := range originHeaders() {
		headers[i] = Header{Key: name, Value: []byte(values[i][:min(len(values[i]), maxAdded)])}
	}
	return headers
}

func originHeaders() []string {
	return []string{
		HeaderOriginalEventID, HeaderOriginalTopic, HeaderOriginalPartition, HeaderOriginalOffset,
		HeaderConsumerGroup, HeaderAttempts, HeaderErrorClass, HeaderErrorReason, HeaderErrorMessage, HeaderFailedAt,
	}
}

// ParseOrigin reads a dead letter: where its record comes from, and the record
// as it stood there, but for its time, which no letter has, and its trace
// context, which is that of the try that failed and continues the same trace.
// What the topic has no room for was cut: see [Fit].
//
// It returns [ErrNotDeadLetter] for a record without the headers of a letter,
// all of them first and in order, and [ErrOrigin] for one whose place, attempts
// or time are not as [Origin.Headers] writes them. What the texts say, and
// whether that topic's letters belong here, is for the caller to judge.
func ParseOrigin(letter Record) (Origin, Record, error) {
	added, own, ok := splitLetter(letter.Headers)
	if !ok {
		return Origin{}, Record{}, ErrNotDeadLetter
	}
	place, err := ParsePlace(strings.Join([]string{
		first(added, HeaderOriginalTopic), first(added, HeaderOriginalPartition), first(added, HeaderOriginalOffset),
	}, "/"))
	if err != nil {
		return Origin{}, Record{}, fmt.Errorf("%w: %w", ErrOrigin, err)
	}
	attempts, err := parseNumber(first(added, HeaderAttempts), strconv.IntSize)
	if err != nil {
		return Origin{}, Record{}, fmt.Errorf("%w: %s %w", ErrOrigin, HeaderAttempts, err)
	}
	failedAt, err := time.Parse(time.RFC3339Nano, first(added, HeaderFailedAt))
	if err != nil {
		return Origin{}, Record{}, fmt.Errorf("%w: %s: %w", ErrOrigin, HeaderFailedAt, err)
	}
	origin := Origin{
		Place: place, EventID: first(added, HeaderOriginalEventID), Group: first(added, HeaderConsumerGroup),
		Attempts: int(attempts), Class: first(added, HeaderErrorClass), Reason: first(added, HeaderErrorReason),
		Message: first(added, HeaderErrorMessage), FailedAt: failedAt.UTC(),
	}
	return origin, Record{Place: place, Key: letter.Key, Value: letter.Value, Headers: own}, nil
}

// splitLetter parts a dead letter's headers into those that were added when it
// was set aside and those of the record it holds.
func splitLetter(headers []Header) (added, own []Header, ok bool) {
	names := originHeaders()
	if len(headers) < len(names) {
		return nil, nil, false
	}
	for i, name := range names {
		if headers[i].Key != name {
			return nil, nil, false
		}
	}
	return headers[:len(names):len(names)], headers[len(names):], true
}

// ErrNoRoom: a dead letter's origin alone is larger than it may be.
var ErrNoRoom = errors.New("no room for a dead letter")

// What a record takes beside its bytes, at most: a batch's header, the record's
// own framing, and that of each header, which are the formats' sums of varints.
const (
	recordFraming = 128
	headerFraming = 10
)

// Size is how many bytes a topic has to take for the message, at most.
func (m Message) Size() int { return recordFraming + len(m.Key) + len(m.Value) + sizeOf(m.Headers) }

func sizeOf(headers []Header) (n int) {
	for _, h := range headers {
		n += headerFraming + len(h.Key) + len(h.Value)
	}
	return n
}

// Fit returns a dead letter that takes so many bytes at most. What is too much
// of it is cut, the record's value first, then those of its headers that have no
// room, the trace's context last, then what its origin says in words. The whole
// of the record stays where the origin says that it stood. It returns
// [ErrNotDeadLetter] for any other message, and [ErrNoRoom] where not even the
// origin's place fits.
func Fit(letter Message, size int) (Message, error) {
	if letter.Size() <= size {
		return letter, nil
	}
	added, own, ok := splitLetter(letter.Headers)
	if !ok {
		return letter, ErrNotDeadLetter
	}
	added, room := fitOrigin(added, size-recordFraming)
	if room < 0 {
		return letter, ErrNoRoom
	}
	letter.Key = letter.Key[:min(len(letter.Key), room/2)] // an order's id is whole in any topic that takes orders
	room -= len(letter.Key)
	kept := make([]bool, len(own))
	for _, context := range []bool{true, false} {
		for i, h := range own {
			if (h.Key == "traceparent") != context || sizeOf(own[i:i+1]) > room {
				continue
			}
			kept[i] = true
			room -= sizeOf(own[i : i+1])
		}
	}
	letter.Headers = added
	for i, h := range own {
		if kept[i] {
			letter.Headers = append(letter.Headers, h)
		}
	}
	letter.Value = letter.Value[:min(len(letter.Value), room)]
	return letter, nil
}

// fitOrigin cuts what an origin says in words to the room, and returns what is
// left of that; less than nothing where it does not fit.
func fitOrigin(added []Header, room int) ([]Header, int) {
	added = slices.Clone(added)
	room -= sizeOf(added)
	for _, name := range []string{HeaderErrorMessage, HeaderOriginalEventID, HeaderErrorReason, HeaderConsumerGroup} {
		i := slices.IndexFunc(added, func(h Header) bool { return h.Key == name })
		cut := min(len(added[i].Value), max(0, -room))
		added[i].Value = added[i].Value[:len(added[i].Value)-cut]
		room += cut
	}
	return added, room
}

// Headers of a marker.
const (
	HeaderResolves   = "resolves"   // the letter, TOPIC/PARTITION/OFFSET
	HeaderResolution = "resolution" // [Replayed] or [Purged]
	HeaderResolvedAt = "resolvedAt" // RFC 3339
)

// What can become of a dead letter.
const (
	Replayed = "replayed" // its record was published once more
	Purged   = "purged"   // given up for good
)

// Marker says what became of a dead letter. It is a record on the letter's
// topic, with the letter's key and no value.
type Marker struct {
	Letter     Place
	Resolution string // [Replayed] or [Purged]
	At         time.Time
	// EventID is the event of the order, named by the key, that a purge ends: it
	// is not to be decided any more. "" for any other marker. It stands in the
	// marker so that a purge is understood without its letter, which retention
	// may have deleted.
	EventID string
}

// ErrNotMarker: a record does not say plainly what became of a dead letter.
var ErrNotMarker = errors.New("not a marker")

// Message is the record that [ParseMarker] reads.
func (m Marker) Message(key []byte) Message {
	headers := []Header{
		{Key: HeaderResolves, Value: []byte(m.Letter.String())},
		{Key: HeaderResolution, Value: []byte(m.Resolution)},
		{Key: HeaderResolvedAt, Value: []byte(m.At.UTC().Format(time.RFC3339Nano))},
	}
	if m.EventID != "" {
		headers = append(headers, Header{Key: HeaderOriginalEventID, Value: []byte(m.EventID)})
	}
	return Message{Topic: m.Letter.Topic, Key: key, Headers: headers}
}

// ParseMarker reads a record without a value that says what became of a letter
// of the same topic. What a record that was set aside has in its own headers
// makes no marker. Errors wrap [ErrNotMarker].
func ParseMarker(r Record) (Marker, error) {
	if _, _, letter := splitLetter(r.Headers); letter || r.Value != nil {
		return Marker{}, fmt.Errorf("%w: it is a letter, or has a value", ErrNotMarker)
	}
	letter, err := ParsePlace(r.Header(HeaderResolves))
	if err != nil {
		return Marker{}, fmt.Errorf("%w: %w", ErrNotMarker, err)
	}
	if letter.Topic != r.Topic {
		return Marker{}, fmt.Errorf("%w: it is on %s and names %s", ErrNotMarker, r.Topic, letter)
	}
	resolution := r.Header(HeaderResolution)
	if resolution != Replayed && resolution != Purged {
		return Marker{}, fmt.Errorf("%w: no resolution: %.64q", ErrNotMarker, resolution)
	}
	at, err := time.Parse(time.RFC3339Nano, r.Header(HeaderResolvedAt))
	if err != nil {
		return Marker{}, fmt.Errorf("%w: %w", ErrNotMarker, err)
	}
	return Marker{letter, resolution, at.UTC(), r.Header(HeaderOriginalEventID)}, nil
}
