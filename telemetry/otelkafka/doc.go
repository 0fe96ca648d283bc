// Package otelkafka gives records sent and received with IBM/sarama their spans and metrics.
//
// It exists because a record's trace must survive a system that works in batches: the process span of a record
// covers its handler and nothing else and is always a child of the context in the record's headers, while work
// done for many records at once has a span of its own that links them. The metrics are those of
// [telemetry.Common]; their topics are exported as zero from the start, so that rate() sees the first record.
//
// A service wraps its producers with [WrapSyncProducer] or [WrapAsyncProducer], says with [WithContext] in which
// context a record is sent, and handles records through [NewHandler] or [NewBatchHandler]; a handler of its own goes
// through [WrapConsumerGroupHandler]. [Lag] and [Rebalances] tell how far it is behind and how its group does, and
// [ObserveSarama] shows what sarama measures itself.
//
// Header carriers come from dnwe/otelsarama. Spans follow the semantic conventions for messaging, pinned in
// semconv.go.
package otelkafka
