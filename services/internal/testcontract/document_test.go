package testcontract_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/vigie-dev/vigie/services/internal/testcontract"
)

func BenchmarkCheck(b *testing.B) {
	content, err := os.ReadFile("../../commande/openapi.yaml")
	if err != nil {
		b.Fatal(err)
	}
	d, err := testcontract.Load(content)
	if err != nil {
		b.Fatal(err)
	}
	h := http.Header{"X-Request-Id": {"abc"}, "X-Content-Type-Options": {"nosniff"}, "Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"}, "Referrer-Policy": {"no-referrer"}, "Cache-Control": {"no-store"}, "Content-Type": {"application/json"}}
	r := httptest.NewRequest("POST", "http://127.0.0.1:3001/orders", nil)
	for b.Loop() {
		if err := d.Check(r, 201, h, []byte(`{"orderId":"order-1","eventId":"9590f7b5-7b77-4087-a578-915e24f40874","status":"created","message":"Order"}`)); err != nil {
			b.Fatal(err)
		}
	}
}
