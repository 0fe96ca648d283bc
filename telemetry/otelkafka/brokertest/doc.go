// Package brokertest has the tests of otelkafka that need a broker, and nothing else.
//
// It is a module of its own because Go has no requirements for tests alone: what a module's tests import stands in the
// build list of everybody who imports the module. The broker is kfake; an importer of otelkafka has no use for it. The
// tests see otelkafka as an importer does, through its public names, and assert what the page and the spans say.
package brokertest
