// Package testsystem runs the whole system as it is deployed, each service and
// the broker a process of its own, so that tests can crash any of them. Only
// tests use it.
package system
