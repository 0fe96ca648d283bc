// Package audit says whether every order is accounted for once. It exists so
// that the promise of the system (an order is paid or rejected exactly once,
// or stands among the dead letters) can be checked from outside, by other code
// than that which keeps it.
//
// It holds two things against each other: the log (every record of the topics,
// read from their start) and the services' state (paiement's ledger and
// outbox, suivi's views, analyseur's totals, and how far each has read). The
// judgement, [Reconcile], is a pure function of the two; [Run] gathers them on
// a system that may be running, and looks again at what differs, since what is
// under way looks like a difference for a moment.
package audit
