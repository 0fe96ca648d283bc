package banking

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vigie-dev/vigie/internal/testenv/golden"
)

func sampleEvents() map[string]Event {
	at := time.Date(2026, 3, 1, 14, 30, 15, 123456000, time.UTC)
	return map[string]Event{
		"order_created.json": OrderCreated{
			EventID: "0b5f4a3e-7d0c-4f43-9a53-0d2f6b1f8c11", OrderID: "order-1", UserID: "user-<é>&",
			Amount: 10050, Items: []string{"book", "\u2028\"pen\""}, Status: StatusCreated, CreatedAt: at,
		},
		"order_created_no_items.json": OrderCreated{
			EventID: "e", OrderID: "order-2", UserID: "u", Amount: 1, Items: []string{}, Status: StatusCreated, CreatedAt: at.Truncate(time.Second),
		},
		"payment_authorized.json": PaymentAuthorized{
			EventID: "5bd1c7a0-94a5-5a30-8f3f-7e0a1a4ee001", OrderID: "order-1", UserID: "user-1",
			Amount: 10050, Status: StatusAuthorized, AuthorizationCode: "AUTH-1", ProcessedAt: at,
		},
		"payment_rejected.json": PaymentRejected{
			EventID: "5bd1c7a0-94a5-5a30-8f3f-7e0a1a4ee001", OrderID: "order-1", UserID: "user-1",
			Amount: 10050, Status: StatusRejected, RejectionReason: "insufficient funds", ProcessedAt: at,
		},
	}
}

func TestGoldenWireFormats(t *testing.T) {
	for name, event := range sampleEvents() {
		t.Run(name, func(t *testing.T) {
			value, err := Encode(event)
			if err != nil {
				t.Fatal(err)
			}
			golden.Compare(t, name, string(value)+"\n")
			back, err := Decode(event.Type(), value)
			if err != nil || !reflect.DeepEqual(back, event) {
				t.Errorf("decoded %+v, %v; want %+v", back, err, event)
			}
		})
	}
}

func TestEventInterface(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	for want, e := range map[string]Event{
		"OrderCreated":      OrderCreated{EventID: "e", OrderID: "o", CreatedAt: at},
		"PaymentAuthorized": PaymentAuthorized{EventID: "e", OrderID: "o", ProcessedAt: at},
		"PaymentRejected":   PaymentRejected{EventID: "e", OrderID: "o", ProcessedAt: at},
	} {
		if e.ID() != "e" || e.Order() != "o" || e.Type() != want || !e.Time().Equal(at) {
			t.Errorf("%T: %s %s %s %s", e, e.ID(), e.Order(), e.Type(), e.Time())
		}
	}
}

func TestEncodeNormalises(t *testing.T) {
	t.Parallel()
	local := time.Date(2026, 3, 1, 1, 0, 0, 999, time.FixedZone("", 7200))
	value, err := Encode(OrderCreated{EventID: "e", OrderID: "o", UserID: "u", Amount: 1, Status: StatusCreated, CreatedAt: local})
	want := `{"eventId":"e","orderId":"o","userId":"u","amount":0.01,"items":[],"status":"CREATED","createdAt":"2026-02-28T23:00:00Z"}`
	if err != nil || string(value) != want {
		t.Errorf("got %s, %v\nwant %s", value, err, want)
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0)
	valid := OrderCreated{EventID: "e", OrderID: "o", UserID: "u", Amount: 1, Status: StatusCreated, CreatedAt: at}
	change := func(f func(*OrderCreated)) Event {
		e := valid
		f(&e)
		return e
	}
	if _, err := Encode(valid); err != nil {
		t.Fatal(err)
	}
	authorized := PaymentAuthorized{EventID: "e", OrderID: "o", UserID: "u", Amount: 1, Status: StatusAuthorized, ProcessedAt: at}
	rejected := PaymentRejected{EventID: "e", OrderID: "o", UserID: "u", Amount: 1, Status: StatusRejected, ProcessedAt: at}
	for name, e := range map[string]Event{
		"nil":         nil,
		"pointer":     &valid,
		"no id":       change(func(e *OrderCreated) { e.EventID = "" }),
		"no order":    change(func(e *OrderCreated) { e.OrderID = "" }),
		"long user":   change(func(e *OrderCreated) { e.UserID = strings.Repeat("u", 129) }),
		"bad UTF-8":   change(func(e *OrderCreated) { e.UserID = "\xff" }),
		"bad item":    change(func(e *OrderCreated) { e.Items = []string{"\xff"} }),
		"no amount":   change(func(e *OrderCreated) { e.Amount = 0 }),
		"negative":    change(func(e *OrderCreated) { e.Amount = math.MinInt64 }),
		"too much":    change(func(e *OrderCreated) { e.Amount = MaxAmount + 1 }),
		"status":      change(func(e *OrderCreated) { e.Status = StatusAuthorized }),
		"no time":     change(func(e *OrderCreated) { e.CreatedAt = time.Time{} }),
		"nearly none": change(func(e *OrderCreated) { e.CreatedAt = time.Time{}.Add(1) }),
		"year 10000":  change(func(e *OrderCreated) { e.CreatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"too large":   change(func(e *OrderCreated) { e.Items = []string{strings.Repeat("x", MaxEventSize)} }),
		"no code":     authorized,
		"no reason":   rejected,
	} {
		if value, err := Encode(e); !errors.Is(err, ErrMalformed) || value != nil {
			t.Errorf("%s: got %.40s, %v; want ErrMalformed", name, value, err)
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	value := ` {"future":{"eventId":[]},"EVENTID":1,"eventId":"e","orderId":"o","userId":"u","amount":1e1,` +
		`"status":"CREATED","createdAt":"2026-03-01T01:00:00.1234567+02:00"} `
	got, err := Decode(TypeOrderCreated, []byte(value))
	want := OrderCreated{
		EventID: "e", OrderID: "o", UserID: "u", Amount: 1000, Items: []string{}, Status: StatusCreated,
		CreatedAt: time.Date(2026, 2, 28, 23, 0, 0, 123456000, time.UTC),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ event, old, new, field string }{
		"empty id":        {TypeOrderCreated, `"eventId":"e"`, `"eventId":""`, "eventId"},
		"no id":           {TypeOrderCreated, `"eventId":"e"`, `"EventId":"e"`, "eventId"},
		"long order":      {TypeOrderCreated, `"orderId":"order-2"`, `"orderId":"` + strings.Repeat("é", 129) + `"`, "orderId"},
		"null user":       {TypeOrderCreated, `"userId":"u"`, `"userId":null`, "userId"},
		"user twice":      {TypeOrderCreated, `"userId":"u"`, `"userId":"u","userId":"u"`, "userId"},
		"zero amount":     {TypeOrderCreated, `0.01`, `0`, "amount"},
		"negative amount": {TypeOrderCreated, `0.01`, `-0.01`, "amount"},
		"amount string":   {TypeOrderCreated, `0.01`, `"0.01"`, "amount"},
		"amount thirds":   {TypeOrderCreated, `0.01`, `0.333`, "amount"},
		"amount too much": {TypeOrderCreated, `0.01`, `1000000.01`, "amount"},
		"largest amount":  {TypeOrderCreated, `0.01`, `92233720368547758.07`, "amount"},
		"items numbers":   {TypeOrderCreated, `[]`, `[1]`, "items"},
		"no status":       {TypeOrderCreated, `"status"`, `"state"`, "status"},
		"other status":    {TypeOrderCreated, `CREATED`, `REJECTED`, "status"},
		"lower status":    {TypeOrderCreated, `CREATED`, `created`, "status"},
		"no time":         {TypeOrderCreated, `createdAt`, `processedAt`, "createdAt"},
		"zero time":       {TypeOrderCreated, `2026-03-01T14:30:15Z`, `0001-01-01T00:00:00.0000001Z`, "createdAt"},
		"time before":     {TypeOrderCreated, `2026-03-01T14:30:15Z`, `0000-01-01T00:00:00+10:00`, "createdAt"},
		"time after":      {TypeOrderCreated, `2026-03-01T14:30:15Z`, `9999-12-31T23:59:59-10:00`, "createdAt"},
		"time without T":  {TypeOrderCreated, `2026-03-01T14`, `2026-03-01 14`, "createdAt"},
		"time number":     {TypeOrderCreated, `"2026-03-01T14:30:15Z"`, `1772375415`, "createdAt"},
		"not an object":   {TypeOrderCreated, `{`, `[{`, ""},
		"wrong type":      {TypePaymentAuthorized, "", "", "status"},
	}
	valid, err := os.ReadFile("testdata/order_created_no_items.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value := strings.Replace(string(valid), tt.old, tt.new, 1)
			if value == string(valid) && tt.new != "" {
				t.Fatal("the case changes nothing")
			}
			e, err := Decode(tt.event, []byte(value))
			var fe *FieldError
			if e != nil || !errors.Is(err, ErrMalformed) || !errors.As(err, &fe) || fe.Field != tt.field {
				t.Errorf("got %+v, %v; want ErrMalformed about %q", e, err, tt.field)
			}
		})
	}
}

func TestDecodeRefusesPaymentDetails(t *testing.T) {
	t.Parallel()
	for event, tt := range map[string]struct{ file, field string }{
		TypePaymentAuthorized: {"payment_authorized.json", "authorizationCode"},
		TypePaymentRejected:   {"payment_rejected.json", "rejectionReason"},
	} {
		valid, err := os.ReadFile("testdata/" + tt.file)
		if err != nil {
			t.Fatal(err)
		}
		// One bound, that of an order, wherever an amount enters.
		if e, err := Decode(event, []byte(strings.Replace(string(valid), `100.50`, `1e6`, 1))); err != nil {
			t.Errorf("%s of the largest amount: %v, %v", event, e, err)
		}
		if e, err := Decode(event, []byte(strings.Replace(string(valid), `100.50`, `1000000.01`, 1))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s above the largest amount: %v, %v", event, e, err)
		}
		for _, field := range []string{tt.field, "eventId", "orderId", "userId", "amount", "status", "processedAt"} {
			var fe *FieldError
			_, err := Decode(event, []byte(strings.Replace(string(valid), `"`+field+`"`, `"other"`, 1)))
			if !errors.Is(err, ErrMalformed) || !errors.As(err, &fe) || fe.Field != field {
				t.Errorf("%s without %s: %v", event, field, err)
			}
		}
	}
}

func TestDecodeRefusesTypesAndSizes(t *testing.T) {
	t.Parallel()
	value, err := Encode(sampleEvents()["order_created.json"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(TypeOrderCreated, []byte(pad(string(value), MaxEventSize))); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	for name, call := range map[string]func() (Event, error){
		"too large":  func() (Event, error) { return Decode(TypeOrderCreated, []byte(pad(string(value), MaxEventSize+1))) },
		"other type": func() (Event, error) { return Decode("orderCreated", value) },
		"no type":    func() (Event, error) { return Decode("", value) },
		"tombstone":  func() (Event, error) { return Decode(TypeOrderCreated, nil) },
	} {
		if e, err := call(); e != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v; want ErrMalformed", name, e, err)
		}
	}
}

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

// TestEventsAreWrittenAsEncodingJSONWritesThem holds the writer of ours against the struct's tags.
func TestEventsAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 14, 30, 15, 120000000, time.UTC)
	for _, text := range []string{"plain", `"`, `\`, "é", "<&>", "\u2028", "a\tb", "\x7f", "😀", strings.Repeat("long ", 20)} {
		e := OrderCreated{EventID: "e", OrderID: "o", UserID: "u", Amount: 5, Items: []string{text, "", text}, Status: StatusCreated, CreatedAt: at}
		got, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(e); err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != want.String() {
			t.Errorf("%s, want %s", got, want.String())
		}
	}
}
