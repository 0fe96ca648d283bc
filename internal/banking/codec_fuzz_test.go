package banking

import (
	"errors"
	"reflect"
	"testing"
)

func FuzzDecode(f *testing.F) {
	for _, event := range sampleEvents() {
		value, err := Encode(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event.Type(), value)
	}
	f.Add(TypeOrderCreated, []byte(`{"eventId":"\ud800"}`))
	f.Fuzz(func(t *testing.T, eventType string, value []byte) {
		e, err := Decode(eventType, value)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || e != nil {
				t.Fatalf("got %v, %v; want ErrMalformed", e, err)
			}
			return
		}
		again, err := Encode(e)
		if err != nil {
			t.Fatalf("decoded %+v, which does not encode: %v", e, err)
		}
		back, err := Decode(e.Type(), again)
		if err != nil || e.Type() != eventType || !reflect.DeepEqual(back, e) {
			t.Fatalf("round trip of %+v gave %+v, %v", e, back, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	event := sampleEvents()["order_created.json"]
	value, err := Encode(event)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(event.Type(), value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	event := sampleEvents()["order_created.json"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(event); err != nil {
			b.Fatal(err)
		}
	}
}
