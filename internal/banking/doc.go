// Package banking is the vocabulary that every Vigie service shares: exact money,
// orders, the events that travel through Kafka, their wire format and the topics.
//
// It exists so that the contract between services is written once, can be tested
// without Kafka, storage or HTTP, and imports nothing but the standard library.
// What crosses a trust boundary (a request body, a record's value) is parsed here,
// strictly, and no error of this package ever repeats a value it was given: such
// values may be personal, and errors end in logs, problem documents and dead letters.
package banking
