// Package conformance runs the same scripts with bare sarama, with otelkafka and with dnwe/otelsarama, and writes down what came of
// each: the table in docs/telemetry.md.
//
// It stands apart from package brokertest because what others leave behind, goroutines above all, is what it shows. The
// scripts are in scripts_test.go; what is measured, and the table, in conformance_test.go; the three sides in sides_test.go.
// They run with the tag integration, which UPDATE_GOLDEN=1 has write testdata/table.md. The document has to show that
// (document_test.go).
package conformance
