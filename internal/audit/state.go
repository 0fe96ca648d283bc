package audit

import (
	"slices"
	"sync"
	"time"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/extsort"
	"github.com/vigie-dev/vigie/internal/record"
)

// Positions are the next offsets that a service has to process. A partition
// that it has not begun to read is not there.
type Positions map[record.Partition]int64

// read says whether the service has processed the record of that place.
func (p Positions) read(at record.Place) bool {
	next, ok := p[at.Partition]
	return ok && at.Offset < next
}

// State is what the services have stored, beside their rows. Each service's
// part is of the same moment as its rows; nil stands for a service that was not
// looked at.
type State struct {
	Paiement  *Paiement
	Suivi     *Suivi
	Analyseur *Analyseur
	// NotLookedAt gives the reason for each part that is nil, by service.
	NotLookedAt map[string]string
	// Committed are the offsets that paiement's group has committed in Kafka, for
	// where its own positions are not known: what it has committed, it has decided
	// and published, or set aside.
	Committed Positions
	// LogAlone: nobody asked for the services' state, so that it is not missing.
	LogAlone bool
	// Since is where the log ended before the state was read: the state is at
	// least as new as the records before. Nil says so of the whole log.
	Since map[record.Partition]int64
}

// Paiement is paiement's state beside its ledger and its outbox.
type Paiement struct {
	Positions Positions
	// DecidesFrom is when the topics may have lost what came of orders before, zero
	// for never: they were cut or made again, and the ledger kept what it knew.
	DecidesFrom time.Time
}

// Suivi is suivi's state beside its views.
type Suivi struct {
	Positions Positions
	Counts    map[banking.OrderStatus]int64 // of its orders, as it shows them
}

// Analyseur is analyseur's state beside its transactions and minutes.
type Analyseur struct {
	Positions Positions
	Totals    map[string]Sum // by status
}

// LedgerRow is one decision, or one purge, in paiement's ledger.
type LedgerRow struct {
	OrderID       string
	EventID       string // the order's
	ResultEventID string
	Status        string
	Amount        banking.Money
	ProcessedAt   time.Time
}

// View is an order as suivi shows it.
type View struct {
	OrderID, UserID   string
	Amount            banking.Money
	Items             []string
	Status            banking.OrderStatus
	AuthorizationCode string
	RejectionReason   string
	FailureReason     string
	CreatedAt         time.Time
	ProcessedAt       time.Time
	ListedAt          time.Time
	UpdatedAt         time.Time
	History           []Moment
}

// Moment is one event in an order's history. That of a dead letter has the
// place of the record that was set aside for its id.
type Moment struct {
	EventID string
	Type    string
	At      time.Time
}

// Transaction is a decided payment that analyseur has counted.
type Transaction struct {
	OrderID     string
	EventID     string // the result's
	UserID      string
	Status      string
	Amount      banking.Money
	ProcessedAt time.Time
}

// Minute is what analyseur has counted of one minute, by processedAt.
type Minute struct {
	Minute int64 // since 1970
	Count  int64
	Amount banking.Money
}

// Rows takes the services' rows. Its methods may be called from several
// goroutines, in any order.
type Rows struct {
	decoder
	orders, origins, minutes *extsort.Sorter

	mu    sync.Mutex
	views map[banking.OrderStatus]int64 // how many of each status there should be
}

// newRows has the rows kept as the configuration says.
func newRows(cfg Config, d decoder) *Rows {
	return &Rows{
		decoder: d, orders: extsort.New(cfg.Dir, cfg.Memory/2), origins: extsort.New(cfg.Dir, small), minutes: extsort.New(cfg.Dir, small),
		views: map[banking.OrderStatus]int64{},
	}
}

// Ledger takes a row of paiement's ledger.
func (r *Rows) Ledger(row LedgerRow) error {
	return put(r.orders, orderKey(row.OrderID), &ledgerRow{
		row.EventID, row.ResultEventID, row.Status, row.Amount, microsOf(row.ProcessedAt),
	})
}

// Pending takes a message of paiement's outbox, published or not; its offset and
// time are not set.
func (r *Rows) Pending(message record.Record) error {
	switch id, f := r.decode(message); f := f.(type) {
	case *result:
		return put(r.orders, orderKey(id), &pending{f.event})
	case *letter:
		return put(r.origins, placeKey(f.group, f.origin), &pendingLetter{f.orderID, f.origin})
	default:
		return nil // it says nothing of an order
	}
}

// View takes an order as suivi shows it.
func (r *Rows) View(v View) error {
	r.countViews(v.Status, 1)
	out := &view{
		user: r.digest(v.UserID), items: r.digestOf(v.Items), amount: v.Amount, status: v.Status,
		code: r.digest(v.AuthorizationCode), rejection: r.digest(v.RejectionReason), failure: r.digest(v.FailureReason),
		created: microsOf(v.CreatedAt), processed: microsOf(v.ProcessedAt), listed: microsOf(v.ListedAt), updated: microsOf(v.UpdatedAt),
		history: make([]moment, len(v.History)),
	}
	for i, m := range v.History {
		out.history[i] = moment{r.digest(m.EventID), banking.StatusAfter(m.Type), microsOf(m.At)}
	}
	return put(r.orders, orderKey(v.OrderID), out)
}

// countViews counts so many views of a status, if it is one.
func (r *Rows) countViews(status banking.OrderStatus, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(statuses(), status) {
		r.views[status] += n
	}
}

// statuses are those of orders that suivi counts.
func statuses() []banking.OrderStatus {
	return []banking.OrderStatus{
		banking.OrderStatusCreated, banking.OrderStatusFailed, banking.OrderStatusAuthorized, banking.OrderStatusRejected,
	}
}

// Transaction takes a payment that analyseur has counted.
func (r *Rows) Transaction(t Transaction) error {
	return put(r.orders, orderKey(t.OrderID), &transaction{
		t.EventID, r.digest(t.UserID), t.Status, t.Amount, microsOf(t.ProcessedAt),
	})
}

// Minute takes what analyseur has counted of a minute.
func (r *Rows) Minute(m Minute) error {
	return put(r.minutes, minuteKey(m.Minute), &minute{stored: true, Sum: Sum{m.Count, CentsOf(m.Amount)}})
}

// ledgerRow is a [LedgerRow] of a known order.
type ledgerRow struct {
	event, result string
	status        string
	amount        banking.Money
	processed     micros
}

func (*ledgerRow) kind() byte { return factRow }

func (f *ledgerRow) fields(c *codec) {
	c.text(&f.event)
	c.text(&f.result)
	c.text(&f.status)
	number(c, &f.amount)
	number(c, &f.processed)
}

// pending is a result in the outbox, by its event.
type pending struct{ event string }

func (*pending) kind() byte { return factPending }

func (f *pending) fields(c *codec) { c.text(&f.event) }

// pendingLetter is a dead letter in the outbox, by the record's place.
type pendingLetter struct {
	orderID string
	origin  record.Place
}

func (*pendingLetter) kind() byte { return factPendingLetter }

func (f *pendingLetter) fields(c *codec) {
	c.text(&f.orderID)
	c.place(&f.origin)
}

// view is a [View] of a known order.
type view struct {
	user, items                         uint64
	amount                              banking.Money
	status                              banking.OrderStatus
	code, rejection, failure            uint64
	created, processed, listed, updated micros
	history                             []moment
}

// moment is one event in an order's history.
type moment struct {
	event  uint64
	status banking.OrderStatus // that it gives to the order
	at     micros
}

func (*view) kind() byte { return factView }

func (f *view) fields(c *codec) {
	for _, d := range []*uint64{&f.user, &f.items, &f.code, &f.rejection, &f.failure} {
		c.digest(d)
	}
	number(c, &f.amount)
	c.text((*string)(&f.status))
	for _, t := range []*micros{&f.created, &f.processed, &f.listed, &f.updated} {
		number(c, t)
	}
	list(c, &f.history)
	for i := range f.history {
		c.digest(&f.history[i].event)
		c.text((*string)(&f.history[i].status))
		number(c, &f.history[i].at)
	}
}

// list writes or reads a list's length, and makes the list as long.
func list[T any](c *codec, all *[]T) {
	n := int64(len(*all))
	number(c, &n)
	if !c.reading {
		return
	}
	if n < 0 || n > int64(len(c.buf)) { // each element takes a byte at least
		c.damaged, c.buf, n = true, nil, 0
	}
	*all = make([]T, n)
}

// transaction is a [Transaction] of a known order.
type transaction struct {
	event     string
	user      uint64
	status    string
	amount    banking.Money
	processed micros
}

func (*transaction) kind() byte { return factTransaction }

func (f *transaction) fields(c *codec) {
	c.text(&f.event)
	c.digest(&f.user)
	c.text(&f.status)
	number(c, &f.amount)
	number(c, &f.processed)
}
