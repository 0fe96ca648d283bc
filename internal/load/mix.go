package load

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/vigie-dev/vigie/internal/demo"
)

// Kind is what a request is there for.
type Kind string

// The kinds of requests.
const (
	Order      Kind = "order"      // an order
	Keyed      Kind = "keyed"      // an order with an Idempotency-Key
	Repeat     Kind = "repeat"     // one of the latest keyed orders again, as after a lost answer
	Wrong      Kind = "wrong"      // a request that is to be refused
	Status     Kind = "status"     // what became of one of the latest orders
	List       Kind = "list"       // the latest orders
	Statistics Kind = "statistics" // the sums
)

// Kinds are all kinds, in the order in which they are shown.
func Kinds() []Kind { return []Kind{Order, Keyed, Repeat, Wrong, Status, List, Statistics} }

// Orders says whether requests of the kind are good orders: those that objectives
// are about.
func (k Kind) Orders() bool { return k == Order || k == Keyed || k == Repeat }

// Mix says how often a request is of a kind, as weights.
type Mix map[Kind]float64

// DefaultMix is mostly orders, with what clients also do.
func DefaultMix() Mix {
	return Mix{Order: 60, Keyed: 10, Repeat: 3, Wrong: 2, Status: 15, List: 5, Statistics: 5}
}

// ErrMix: a text or a scenario does not say what to mix.
var ErrMix = errors.New("bad mix")

// ParseMix reads a mix such as order=80,status=20.
func ParseMix(text string) (Mix, error) {
	m := Mix{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, ok := strings.Cut(strings.TrimSpace(part), "=")
		weight, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("%w: %.64q is not like order=80", ErrMix, part)
		}
		m[Kind(name)] = weight
	}
	return m, m.Check()
}

// Check returns an [ErrMix] for one that nothing can be drawn from.
func (m Mix) Check() error {
	sum := 0.0
	for kind, weight := range m {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("%w: no kind %.64q; want some of %s", ErrMix, string(kind), kindNames())
		}
		if !(weight >= 0 && weight <= 1e6) {
			return fmt.Errorf("%w: %s=%v; want a weight of 0 to a million", ErrMix, kind, weight)
		}
		sum += weight
	}
	if sum <= 0 {
		return fmt.Errorf("%w: nothing has a weight above 0", ErrMix)
	}
	return nil
}

func kindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// String writes a mix as [ParseMix] reads it.
func (m Mix) String() string {
	var parts []string
	for _, k := range Kinds() {
		if m[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%v", k, m[k]))
		}
	}
	return strings.Join(parts, ",")
}

// keyed is how many of the latest keyed orders a [Repeat] chooses from.
const keyed = 64

// request is what is sent.
type request struct {
	Kind Kind
	demo.Request
	key  string // of a [Keyed] and its [Repeat]
	pick uint64 // of a [Status]: which of the latest orders
}

// script is what is sent, as a seed has it: two with the same are the same, but for
// the run's name in keys, without which a second run would get the first one's
// answers.
type script struct {
	random    *rand.Rand
	customers *demo.Customers
	kinds     []Kind
	sums      []float64 // of weights, up to each kind
	run       string
	number    uint64
	latest    []request // keyed
}

// userPrefix begins the id of every user whose orders are a load's.
const userPrefix = "load-"

func newScript(mix Mix, seed uint64, users int, run string) *script {
	random := rand.New(rand.NewPCG(seed, 0x76696769652d6c6f)) //nolint:gosec // a load
	s := &script{random: random, customers: demo.NewCustomers(random, userPrefix, users), run: run}
	sum := 0.0
	for _, kind := range slices.Sorted(maps.Keys(mix)) {
		if mix[kind] <= 0 {
			continue
		}
		sum += mix[kind]
		s.kinds, s.sums = append(s.kinds, kind), append(s.sums, sum)
	}
	return s
}

// next is the next request. A repeat of nothing is a keyed order.
func (s *script) next() request {
	draw := s.random.Float64() * s.sums[len(s.sums)-1]
	i, _ := slices.BinarySearch(s.sums, draw)
	r := request{Kind: s.kinds[min(i, len(s.kinds)-1)]}
	if r.Kind == Repeat && len(s.latest) > 0 {
		r = s.latest[s.random.IntN(len(s.latest))]
		r.Kind = Repeat
		return r
	}
	switch r.Kind {
	case Order:
		r.Request = s.customers.Order("")
	case Keyed, Repeat:
		s.number++
		r.Kind, r.key = Keyed, fmt.Sprintf("load-%s-%d", s.run, s.number)
		r.Request = s.customers.Order(r.key)
		if len(s.latest) == keyed {
			s.latest = s.latest[1:]
		}
		s.latest = append(s.latest, r)
	case Wrong:
		r.Request = s.customers.Wrong()
	case Status:
		r.Method, r.pick = "GET", s.random.Uint64()
	case List:
		r.Method, r.Path = "GET", "/orders?limit=20"
	case Statistics:
		r.Method, r.Path = "GET", "/statistics"
	}
	return r
}
