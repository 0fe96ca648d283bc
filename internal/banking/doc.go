// Package banking is the vocabulary that every Vigie service shares: exact money,
// orders, the events that travel through Kafka, their wire format and the topics.
//
// It exists so that the contract between services is written once, can be tested
// without Kafka, storage or HTTP, and imports nothing else of the project.
// What crosses a trust boundary (a request body, a record's value) is parsed here,
// strictly, and no error of this package ever repeats a value it was given: such
// values may be personal, and errors end in logs, problem documents and dead letters.
//
// money.go says what an amount is, order.go what a client may order, event.go
// which events there are and how they are named, codec.go how they are written,
// fields.go how foreign JSON is read, topics.go where events go, status.go which
// status of an order follows from them, and probe.go which orders are none.
package banking
