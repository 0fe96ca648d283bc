// Package testpostgres runs a real PostgreSQL for tests: what several instances
// of a service do to one database shows on nothing else. The server is that of
// the system's packages, with its durability on, a password, and a folder of
// its own. Only tests use it.
package postgres
