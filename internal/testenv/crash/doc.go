// Package crashtest shows that nothing is lost or doubled, whatever crashes. It
// runs the system as processes, has clients place orders, injects one fault a
// round, and afterwards holds what the clients were told against the topics,
// suivi and analyseur. It decodes records and adds amounts itself: it must not
// share a mistake with what it checks. `make crash` runs it; only tests use it.
package crash
