// Package testkafka runs a real Apache Kafka broker, without containers, for
// tests that must not depend on the embedded one's idea of Kafka. It takes the
// jars from Maven Central into the user's cache, once; it needs java and mvn.
// Only tests use it.
package kafka
