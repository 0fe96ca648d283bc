package sentinelle

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/vigie-dev/vigie/internal/i18n"
)

// Well is said of what everybody confirmed, trouble of what somebody saw, and
// unknown of everything else: each proof that is taken away ends "well".
func TestTheVerdict(t *testing.T) {
	lags := func(b *bank) {
		for at := range b.values[figLag] {
			if at.service == "paiement" {
				delete(b.values[figLag], at)
			}
		}
	}
	rule := func(change func(*v1.AlertingRule)) func(*bank) {
		return func(b *bank) {
			r, _ := b.rules[0].Rules[0].(v1.AlertingRule)
			change(&r)
			b.rules[0].Rules[0] = r
		}
	}
	for name, tt := range map[string]struct {
		change func(*bank)
		want   State
		reason string
	}{
		"everything is confirmed":  {func(*bank) {}, Well, "None of 1 alert rules fires"},
		"an alert is about to":     {func(b *bank) { b.fire("ServiceDown", v1.AlertStatePending) }, Well, "fires"},
		"an alert fires":           {func(b *bank) { b.fire("ServiceDown", v1.AlertStateFiring) }, Trouble, "ServiceDown fires: paiement <is> down"},
		"a service is not ready":   {func(b *bank) { b.unready["paiement"] = "kafka: no broker answers" }, Trouble, "paiement is not ready: Not ready: kafka: no broker answers."},
		"a service is away":        {func(b *bank) { b.away["suivi"] = true }, Trouble, "suivi does not answer"},
		"an order waits":           {func(b *bank) { b.set(figWaiting, place{}, 21) }, Trouble, "An order has waited 21 s for its decision."},
		"an order waits a little":  {func(b *bank) { b.set(figWaiting, place{}, 19) }, Well, "None of 1"},
		"a consumer is behind":     {func(b *bank) { b.set(figLagSeconds, place{service: "paiement", topic: "orders.created"}, 21) }, Trouble, "paiement is 21 s behind on orders.created."},
		"nobody sees the orders":   {func(b *bank) { b.set(figUnseen, place{}, 21) }, Unknown, "Nobody has seen for 21 s what becomes of orders."},
		"Prometheus is deaf":       {func(b *bank) { b.deaf = true }, Unknown, "Prometheus at http://prometheus.test:9090 does not answer"},
		"no figures of a service":  {func(b *bank) { delete(b.values[figUp], place{service: "paiement"}) }, Unknown, "no figures of paiement"},
		"a service is not scraped": {func(b *bank) { b.set(figUp, place{service: "paiement"}, 0) }, Unknown, "cannot read paiement"},
		"figures are old":          {func(b *bank) { b.set(figAge, place{service: "suivi"}, 16) }, Unknown, "figures of suivi are 16 s old"},
		"a consumer has no lag":    {lags, Unknown, "Nobody knows how far paiement is"},
		"there are no rules":       {func(b *bank) { b.rules = nil }, Unknown, "no rule that could fire"},
		"a rule was not looked at": {rule(func(r *v1.AlertingRule) { r.LastEvaluation = time.Time{} }), Unknown, "1 of 1 alert rules"},
		"a rule is old":            {rule(func(r *v1.AlertingRule) { r.LastEvaluation = noon().Add(-61 * time.Second) }), Unknown, "1 of 1 alert rules"},
		"a rule fails":             {rule(func(r *v1.AlertingRule) { r.Health = v1.RuleHealthBad }), Unknown, "1 of 1 alert rules"},
		"trouble and unknown":      {func(b *bank) { b.deaf, b.away["suivi"] = true, true }, Trouble, "Prometheus at"},
	} {
		t.Run(name, func(t *testing.T) {
			b := healthyBank()
			tt.change(b)
			s := openSite(t, b, surroundings())
			s.look(t)
			latest, _ := s.page.lookout.current()
			v := judge(latest)
			if v.State != tt.want || !strings.Contains(i18n.Join("\n", v.Reasons...).String(), tt.reason) {
				t.Errorf("%s %q, want %s with %q", v.State, v.Reasons, tt.want, tt.reason)
			}
		})
	}
	if v := judge(&Snapshot{}); v.State != Unknown {
		t.Errorf("before the first look: %v", v)
	}
}
