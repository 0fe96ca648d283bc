package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Kind is what happens in a step.
type Kind string

// The kinds of steps.
const (
	Order  Kind = "order"  // a customer orders
	Repeat Kind = "repeat" // a customer orders twice with one Idempotency-Key, as after a lost answer
	Wrong  Kind = "wrong"  // a client sends what is refused
	Look   Kind = "look"   // somebody looks at an order, or at the sums
	Replay Kind = "replay" // an operator replays dead letters
)

// Request is what is sent, without the address.
type Request struct {
	Method, Path string
	Header       map[string]string
	Body         []byte
}

// Step is one thing that happens.
type Step struct {
	At      time.Duration // from the demonstration's start
	Kind    Kind
	Request Request // of all but [Replay]
	Page    string  // of a [Look]: what is looked at
	Pick    int     // of a [Look] at an order: which of the latest
}

// The pages that are looked at.
const (
	pageStatus     = "an order's status"
	pageOrders     = "the orders"
	pageStatistics = "the sums"
)

// customers is how many there are; a few of them order most.
const customers = 120

// UserPrefix begins the id of every user whose orders are a demonstration's.
const UserPrefix = "demo-"

const (
	// day is the length of the demonstration's day: an hour of it is a minute.
	day = 24 * time.Minute
	// busiest is the most orders a second, in the evening.
	busiest = 2.0
	// shortest is the least time between two steps: a burst stays gentle.
	shortest = 150 * time.Millisecond
	// replayEvery is how often the operator looks at the dead letters.
	replayEvery = 3 * time.Minute
	// opening is the hour of the demonstration's day at which it starts.
	opening = 8
)

// Rate is how many steps a second there are on average at a time from the
// demonstration's start: few at night, more at noon, most in the evening.
func Rate(at time.Duration) float64 {
	perHour := [...]float64{.3, .2, .15, .15, .15, .2, .4, .7, .9, 1.1, 1.2, 1.4, 1.7, 1.4, 1.2, 1.1, 1.2, 1.5, 1.8, busiest, 1.7, 1.2, .8, .5}
	hours := float64(len(perHour))
	now := math.Mod(opening+at.Seconds()/day.Seconds()*hours, hours)
	before, part := math.Modf(now)
	a, b := perHour[int(before)], perHour[(int(before)+1)%len(perHour)]
	return a + (b-a)*part
}

// Customers are who orders: a few of them most.
type Customers struct {
	random *rand.Rand
	users  *rand.Zipf
	prefix string // of their ids
}

// NewCustomers invents n customers, at least one, whose ids begin with a prefix.
func NewCustomers(random *rand.Rand, prefix string, n int) *Customers {
	return &Customers{random: random, users: rand.NewZipf(random, 1.3, 4, uint64(max(n, 1))-1), prefix: prefix}
}

// Script is what happens when. Two with the same seed are the same.
type Script struct {
	random    *rand.Rand
	customers *Customers
	now       time.Duration
	replay    time.Duration // when the operator looks next
}

// NewScript makes the script of a seed.
func NewScript(seed uint64) *Script {
	random := rand.New(rand.NewPCG(seed, 0x76696769652d6465)) //nolint:gosec // a demonstration
	return &Script{random: random, customers: NewCustomers(random, UserPrefix, customers), replay: replayEvery}
}

// Next returns the next step; there is always one.
func (s *Script) Next() Step {
	// Times between steps are those of a Poisson process whose rate changes: of
	// the times at the highest rate, some are left out.
	for {
		gap := time.Duration(s.random.ExpFloat64() / busiest * float64(time.Second))
		s.now += max(gap, shortest)
		if s.now >= s.replay {
			s.replay += replayEvery
			return Step{At: s.now, Kind: Replay}
		}
		if s.random.Float64()*busiest < Rate(s.now) {
			break
		}
	}
	step := Step{At: s.now}
	switch draw := s.random.IntN(100); {
	case draw < 80:
		step.Kind, step.Request = Order, s.customers.Order("")
	case draw < 83:
		step.Kind, step.Request = Repeat, s.customers.Order(fmt.Sprintf("demo-%016x", s.random.Uint64()))
	case draw < 88:
		step.Kind, step.Request = Wrong, s.customers.Wrong()
	default:
		step.Kind = Look
		s.look(&step)
	}
	return step
}

// Order is a customer's order, with an Idempotency-Key unless that is "".
func (c *Customers) Order(key string) Request {
	goods := [...]string{
		"coffee beans", "notebook", "desk lamp", "headphones", "rain jacket", "garden chair", "novel", "tea set", "bicycle tyre", "backpack", "phone case", "wine glasses",
	}
	items := make([]string, 1+c.random.IntN(4))
	for i := range items {
		items[i] = goods[c.random.IntN(len(goods))]
	}
	return post(fmt.Sprintf(`{"userId":"%scustomer-%03d","amount":%s,"items":["%s"]}`,
		c.prefix, c.users.Uint64()+1, c.amount(), strings.Join(items, `","`)), key)
}

// amount is in euros: half of them below 40, a few in the thousands.
func (c *Customers) amount() string {
	euros := min(max(40*math.Exp(c.random.NormFloat64()), 1), 5000)
	cents := int64(euros)*100 + int64([...]int{0, 50, 90, 95, 99}[c.random.IntN(5)])
	return fmt.Sprintf("%d.%02d", cents/100, cents%100)
}

// look chooses what is looked at.
func (s *Script) look(step *Step) {
	path := ""
	switch s.random.IntN(4) {
	case 0:
		step.Page, path = pageOrders, "/orders?limit=20"
	case 1:
		step.Page, path = pageStatistics, [...]string{"/statistics", "/recent-transactions"}[s.random.IntN(2)]
	default:
		step.Page, step.Pick = pageStatus, s.random.IntN(remembered)
	}
	step.Request = Request{Method: http.MethodGet, Path: path}
}

// Wrong is a request that commande refuses, as badly made clients send them.
func (c *Customers) Wrong() Request {
	all := wrongs()
	return all[c.random.IntN(len(all))]
}

// wrongs are requests of which each is refused for another reason.
func wrongs() []Request {
	text := post(`order please`, "")
	text.Header["Content-Type"] = "text/plain"
	return []Request{
		post(`{"userId":"demo-customer-001","amount":12.50`, ""),    // cut off
		post(`{"userId":"demo-customer-002","amount":"12.50"}`, ""), // a text
		post(`{"userId":"demo-customer-003","amount":1.005}`, ""),   // a tenth of a cent
		post(`{"userId":"demo-customer-004","amount":-20}`, ""),     // less than nothing
		post(`{"amount":20}`, ""),                                   // nobody's
		post(`{"userId":"demo-customer-005","amount":20}`, "\""),    // half a key
		text, // no JSON
		{Method: http.MethodDelete, Path: "/orders"}, // not with this method
		{Method: http.MethodGet, Path: "/order/1"},   // misspelt
	}
}

func post(body, key string) Request {
	r := Request{Method: http.MethodPost, Path: "/orders", Header: map[string]string{"Content-Type": "application/json"}, Body: []byte(body)}
	if key != "" {
		r.Header["Idempotency-Key"] = key
	}
	return r
}
