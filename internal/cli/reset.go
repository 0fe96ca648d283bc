package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/vigie-dev/vigie/internal/banking"
	"github.com/vigie-dev/vigie/internal/kafka"
	"github.com/vigie-dev/vigie/internal/storage"
	"github.com/vigie-dev/vigie/services"
	"github.com/vigie-dev/vigie/services/commande"
	"github.com/vigie-dev/vigie/services/paiement"
)

func resetCommand(registry services.Registry) *cli.Command {
	return &cli.Command{
		Name: "reset", Usage: "clear the services' state and consumer offsets together; the topics stay", HideHelpCommand: true,
		Description: listed(registry.Consumers().Names()) + " read the topics from their start when they are started again, with\n" +
			"nothing kept but paiement's ledger, where it can be read and belongs to the same cluster. What was decided\n" +
			"and purged stays final, and order ids go on: nothing is paid twice. Orders of a time of which neither the\n" +
			"ledger nor the topics have every decision are set aside, not decided, unless paiement is started with\n" +
			"--decide-from.\n\n" +
			"It keeps the topics, the order ids and the idempotency keys too. What the topics no longer hold is gone:\n" +
			"suivi shows no older order, and analyseur counts what is there.\n\n" +
			"The services must be stopped, and without --" + flagBrokers + " the embedded broker too. Cut short by\n" +
			"a crash, run it again, or just start the services.\n" +
			"To forget the orders as well, delete the data folder instead.",
		Flags: append(kafkaFlags("the embedded broker, run from the data folder"),
			append(databaseFlags(), brokerAddrFlag(), yesFlag(), jsonFlag("print one JSON object; needs --"+flagYes))...,
		),
		Action: func(ctx context.Context, c *cli.Command) error { return reset(ctx, c, registry) },
	}
}

// reset clears what the consumers have stored, but for the ledger, and where their
// groups are. It asks once nothing stands in its way: the broker answers, the
// storages are locked, and no group has members.
func reset(ctx context.Context, c *cli.Command, registry services.Registry) (err error) {
	if c.Bool(flagJSON) && !c.Bool(flagYes) {
		return misusef("reset: --%s cannot ask a question; confirm with --%s", flagJSON, flagYes)
	}
	database, err := databaseURL(c)
	if err != nil {
		return err
	}
	addresses := brokers(c)
	if len(addresses) == 0 {
		broker, err := startBroker(ctx, c, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, broker.Close()) }()
		addresses = []string{broker.Address()}
	}
	cfg, err := kafkaConfig(c, "vigie-reset", addresses...)
	if err != nil {
		return err
	}
	client, err := kafka.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := kafka.EnsureTopics(ctx, client, banking.Topics()); err != nil {
		return err
	}
	return resetOn(ctx, c, registry, client, cfg, database)
}

// resetOn resets on a cluster that answers.
func resetOn(
	ctx context.Context, c *cli.Command, registry services.Registry, client *kafka.Client, cfg kafka.Config, database string,
) (err error) {
	consumers := registry.Consumers()
	ids, err := commande.OpenStorage(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ids.Close()) }()
	views := slices.DeleteFunc(consumers.Names(), func(name string) bool { return name == paiement.Name })
	locked, err := storage.Lock(ctx, database, views...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locked.Unlock()) }()
	if err := kafka.CheckIdle(client, groupsOf(consumers)...); err != nil {
		return err
	}
	publisher, err := kafka.NewPublisher(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	around := paiement.Surroundings{Log: kafka.Cluster{Config: cfg, Client: client}, Publisher: publisher}
	ledger, err := openLedger(ctx, client, database, views, around)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	p, err := planReset(ctx, client, ids, ledger)
	if err != nil {
		return err
	}
	others := p.outside(registry)
	if err := kafka.CheckIdle(client, groupsOf(others)...); err != nil {
		return err
	}
	theirs, err := storage.Lock(ctx, database, others.Names()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.Unlock()) }()
	if err := confirm(c, p.question(append(views, others.Names()...), storage.Redacted(database))); err != nil {
		return err
	}
	bar := newBar(c.Root().ErrWriter, "clearing")
	defer bar.finish()
	if p.ForeignRecords, err = clearAll(ctx, ids, ledger, []*storage.Locked{locked, theirs}, client, cfg, groupsOf(append(consumers, others...)), bar.draw); err != nil {
		return err
	}
	bar.finish()
	p.Cleared = append(consumers.Names(), others.Names()...)
	return printReset(c, p)
}

func groupsOf(consumers services.Registry) []string {
	var groups []string
	for _, s := range consumers {
		groups = append(groups, s.Group)
	}
	return groups
}

// openLedger opens the ledger with what its reset goes by: what the cluster is, and
// what it was to the services.
func openLedger(ctx context.Context, client *kafka.Client, database string, views []string, around paiement.Surroundings) (_ *paiement.Reset, err error) {
	topics := make([]string, 0, len(banking.Topics()))
	for _, t := range banking.Topics() {
		topics = append(topics, t.Name)
	}
	if around.Identities, err = kafka.Identities(ctx, client, topics); err != nil {
		return nil, err
	}
	identity := kafka.NewIdentity(client, topics, around.Identities)
	if around.Began, err = identity.Began(ctx, banking.GroupPaiement, banking.ReadBy(banking.GroupPaiement)...); err != nil {
		return nil, err
	}
	around.Stamps = map[string]string{}
	for _, name := range views {
		stamps, err := stampsOf(ctx, database, name)
		if err != nil && !errors.Is(err, storage.ErrMissing) && !errors.Is(err, storage.ErrDamaged) {
			return nil, err
		}
		maps.Copy(around.Stamps, stamps)
	}
	return paiement.OpenReset(ctx, database, around)
}

// stampsOf is what a service's storage was made for.
func stampsOf(ctx context.Context, database, service string) (stamps map[string]string, err error) {
	reader, err := storage.OpenReadOnly(ctx, database, service)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	err = reader.Snapshot(ctx, func(s *storage.Snapshot) (err error) {
		stamps, err = s.Stamps(ctx)
		return err
	})
	return stamps, err
}

// clearAll does it in an order in which a crash after any step leaves a system
// that can be started, or reset again, and has neither lost nor doubled anything.
// Ids only move forward. A storage is cleared all or nothing, and a service
// whose storage is empty begins at the start of the topics, wherever its group
// is. The ledger comes before the views, whose stamps say what it lacks where it
// is lost. The groups come last: their offsets are what a storage is refused by that is
// an older copy, and none must be left that they no longer stand beside. Those of paiement
// go on saying what the topics were to the ledger, until its next start has stored that. It
// returns what [commande.SkipIDs] does.
func clearAll(
	ctx context.Context, ids *storage.Store, ledger *paiement.Reset, locked []*storage.Locked, client *kafka.Client, cfg kafka.Config, groups []string,
	draw func(done, total int64),
) (foreign int, err error) {
	steps := []func() error{
		func() (err error) {
			foreign, err = commande.SkipIDs(ctx, ids, kafka.Cluster{Config: cfg, Client: client})
			return err
		},
		func() error { return ledger.Do(ctx) },
		func() error {
			for _, l := range locked {
				if err := l.Clear(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			return kafka.Rewind(ctx, client, banking.GroupPaiement, banking.ReadBy(banking.GroupPaiement)...)
		},
		func() error {
			return kafka.DeleteGroups(client, slices.DeleteFunc(groups, func(g string) bool { return g == banking.GroupPaiement })...)
		},
	}
	for i, step := range steps {
		draw(int64(i), int64(len(steps)))
		if err := step(); err != nil {
			return foreign, err
		}
	}
	return foreign, nil
}

// resetPlan is what a reset clears, what it keeps, and what is gone already.
// Fields are added, never renamed.
type resetPlan struct {
	// Cleared are the services whose state, or position in the topics, is cleared.
	Cleared []string `json:"cleared"`
	// LedgerOrders is how many orders the ledger keeps; LedgerLost says that there
	// was none that could be read.
	LedgerOrders int64        `json:"ledgerOrders"`
	LedgerLost   bool         `json:"ledgerLost"`
	Topics       []resetTopic `json:"topics"`
	// ReplacedTopics are not those that the services began with, and LedgerKnows
	// says that the ledger has all that these held.
	ReplacedTopics []string `json:"replacedTopics"`
	LedgerKnows    bool     `json:"ledgerKnows"`
	// DecisionsGone says that the topics lack decisions that the ledger does not
	// have: orders of their time are set aside as too_old.
	DecisionsGone bool `json:"decisionsGone"`
	// KeysLost says that it is not known which idempotency keys were used.
	KeysLost bool `json:"keysLost"`
	// ForeignRecords name orders that were not taken here.
	ForeignRecords int `json:"foreignRecords"`
}

// resetTopic is what a topic holds, and what it has lost before that.
type resetTopic struct {
	Topic   string `json:"topic"`
	Records int64  `json:"records"`
	Gone    int64  `json:"gone"`
}

// outside are the services that look on and are cleared too: they go on where they
// were, unless what they have counted was of other topics.
func (p resetPlan) outside(registry services.Registry) services.Registry {
	if len(p.ReplacedTopics) == 0 {
		return nil
	}
	return registry.Outside()
}

func printReset(c *cli.Command, p resetPlan) error {
	if c.Bool(flagJSON) {
		return writeJSON(c.Root().Writer, p)
	}
	if p.ForeignRecords > 0 {
		fmt.Fprintf(c.Root().Writer, "%d records name orders that were not taken here; their ids are left out\n", p.ForeignRecords)
	}
	fmt.Fprintln(c.Root().Writer, "state and consumer offsets are cleared; start the services to have the state rebuilt from the topics")
	return nil
}

// planReset looks at what a reset would do.
func planReset(ctx context.Context, client *kafka.Client, ids *storage.Store, ledger *paiement.Reset) (p resetPlan, err error) {
	p = resetPlan{
		LedgerOrders: ledger.Entries(), LedgerLost: ledger.Lost(),
		ReplacedTopics: append([]string{}, ledger.Replaced()...), LedgerKnows: ledger.Complete(),
	}
	unknown := false
	for _, t := range banking.Topics() {
		spans, err := kafka.Bounds(ctx, client, t.Name)
		if err != nil {
			return p, err
		}
		topic := resetTopic{Topic: t.Name}
		for _, s := range spans {
			topic.Records, topic.Gone = topic.Records+s.End-s.Start, topic.Gone+s.Start
			unknown = unknown || s.Start > 0 && !ledger.Knows(s.Partition, s.Start)
		}
		p.Topics = append(p.Topics, topic)
	}
	p.DecisionsGone = unknown || len(p.ReplacedTopics) > 0 && !p.LedgerKnows
	p.KeysLost, err = commande.Lost(ctx, ids)
	return p, err
}

// question says it to people.
func (p resetPlan) question(views []string, database string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "This clears what %s have stored in %s, and where they and paiement are in the topics.\n", listed(views), database)
	text.WriteString("It keeps the order ids, which go on, the idempotency keys, paiement's ledger, and the topics, from which the rest is rebuilt:\n")
	fmt.Fprintf(&text, "  %-20s %d orders\n", "ledger", p.LedgerOrders)
	for _, t := range p.Topics {
		fmt.Fprintf(&text, "  %-20s %d records", t.Topic, t.Records)
		if t.Gone > 0 {
			fmt.Fprintf(&text, "; %d before them are gone, and what was known from them with this", t.Gone)
		}
		text.WriteString("\n")
	}
	if p.LedgerLost {
		text.WriteString("There is no ledger that could be read: what was decided and purged is known from the topics alone.\n")
	}
	if len(p.ReplacedTopics) > 0 {
		fmt.Fprintf(&text, "Not those that the services began with: %s. What the ones before held is gone.\n", strings.Join(p.ReplacedTopics, ", "))
		if p.LedgerKnows {
			text.WriteString("The ledger has all of it, so nothing is decided again; suivi and analyseur will not show it.\n")
		}
	}
	if p.DecisionsGone {
		text.WriteString("Decisions or purges that the ledger does not have are among what is gone: orders of their time that are still in the\n" +
			"topics will be set aside as too_old.\n")
	}
	if p.KeysLost {
		text.WriteString("commande's storage is new: which idempotency keys were used is lost. A request that a client repeats under a key of\n" +
			"the last 24 hours makes another order, which is paid once more.\n")
	}
	return strings.TrimSuffix(text.String(), "\n")
}
