package storage

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vigie-dev/vigie/internal/record"
)

func TestEncodingKeepsEveryByte(t *testing.T) {
	want := []record.Message{
		{},
		{Topic: "t", Key: []byte{}, Value: nil, Headers: []record.Header{{Key: "a\xff", Value: []byte{0, 255}}, {Key: "", Value: nil}, {Value: []byte{}}}},
		{Topic: "é\x00", Key: []byte("k"), Value: bytes.Repeat([]byte{7}, 300)},
	}
	got, err := decodeMessages(encodeMessages(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after decoding (-want +got):\n%s", diff)
	}
}

func TestEveryCutIsDamage(t *testing.T) {
	whole := encodeMessages([]record.Message{{Topic: "t", Key: []byte("k"), Value: []byte("v"), Headers: []record.Header{{Key: "h", Value: []byte("x")}}}})
	for n := range len(whole) {
		if _, err := decodeMessages(whole[:n]); !errors.Is(err, errEncoding) {
			t.Errorf("%d of %d bytes: %v, want errEncoding", n, len(whole), err)
		}
	}
	if _, err := decodeMessages(append(whole, 0)); !errors.Is(err, errEncoding) {
		t.Errorf("a byte too many: %v, want errEncoding", err)
	}
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add(encodeMessages([]record.Message{{Topic: "t", Key: []byte("k"), Headers: []record.Header{{Key: "h", Value: []byte("x")}}}}))
	f.Add([]byte{encodingVersion, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		messages, err := decodeMessages(text)
		if err != nil {
			return
		}
		again, err := decodeMessages(encodeMessages(messages))
		if err != nil || !cmp.Equal(messages, again) {
			t.Errorf("%v became %v, %v", messages, again, err)
		}
	})
}
