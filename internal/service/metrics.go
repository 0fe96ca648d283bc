package service

import (
	"slices"

	"github.com/vigie-dev/vigie/internal/httpapi"
	"github.com/vigie-dev/vigie/telemetry"
	"github.com/vigie-dev/vigie/telemetry/catalogue"
)

// Names of the metrics that say what a service stands on. Each is recorded in the file
// of what it measures.
const (
	readyMetric        = "service_ready"
	partsMetric        = "service_part_ready"
	reloadFailedMetric = "file_reload_failed"
	expiryMetric       = "certificate_expiry_timestamp_seconds"
	clockSteps         = "clock_steps_total"
	clockBehind        = "clock_behind_records_seconds"
	prunedRows         = "storage_pruned_rows_total"
	leftOutMetric      = "log_lines_left_out_total"
	unreadMetric       = "kafka_consumer_unread_partitions"
	commitsMetric      = "storage_commits_total"
	dbConnections      = "db_client_connections"
	dbConnectionsMax   = "db_client_connections_max"
	dbWaits            = "db_client_connection_waits_total"
	storageUpdate      = "storage_update_duration_seconds"
	kafkaPublish       = "kafka_publish_duration_seconds"
)

// Catalogue returns all metrics that are recorded here. Every service declares them, and some have no
// series where a service has nothing of the kind.
func Catalogue() telemetry.Catalogue {
	return slices.Concat(Common(), ConsumerCatalogue(), WaitCatalogue(), PostgresCatalogue())
}

// Common returns the metrics that every service has beside [catalogue.Common].
func Common() telemetry.Catalogue {
	return slices.Concat(telemetry.Catalogue{{
		Name: readyMetric, Kind: telemetry.Gauge,
		Help: "1 while the service can do its work, as /health/ready says, else 0.",
	}, {
		Name: partsMetric, Kind: telemetry.Gauge, Labels: []string{"part"},
		Help:  "1 while this part of what the service stands on is well, else 0: the first that is not is the reason of /health/ready.",
		Bound: "kafka, storage, and what else the service needs: consumer, ledger, writes to kafka", MaxSeries: 8,
	}, {
		Name: reloadFailedMetric, Kind: telemetry.Gauge, Labels: []string{"file"},
		Help:  "1 while a changed file cannot be used and what it said before is in use, else 0.",
		Bound: "tokens, certificate, and the tokens that the service shows", MaxSeries: 4,
	}, {
		Name: expiryMetric, Kind: telemetry.Gauge, Unit: "s",
		Help: "When the certificate that clients are shown ends to be valid, or the first of those behind it does; none without one.",
	}}, httpapi.Catalogue(), telemetry.Catalogue{{
		Name: clockSteps, Kind: telemetry.Counter, Labels: []string{"direction"},
		Help:  "How often the time of day was found to have been set by more than two minutes; nothing is removed for its age around it.",
		Bound: "forward or backward", MaxSeries: 2,
	}, {
		Name: clockBehind, Kind: telemetry.Gauge, Unit: "s",
		Help: "How far the time of day is behind the newest record; 0 for less than two minutes. Nothing is removed for its age meanwhile.",
	}, {
		Name: prunedRows, Kind: telemetry.Counter,
		Help: "Rows that were removed from the storage for their age.",
	}, {
		Name: leftOutMetric, Kind: telemetry.Counter,
		Help: "INFO lines about single orders that were not logged, since LOG_SAMPLING keeps those of a share of the orders.",
	}})
}

// ConsumerCatalogue returns the metrics that services add which consume.
func ConsumerCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: unreadMetric, Kind: telemetry.Gauge, Labels: []string{"topic"}, Bound: "topics the service reads", MaxSeries: 5,
		Help: "Partitions that no instance of the service reads: just added, or given to a stranger in its consumer group.",
	}, {
		Name: commitsMetric, Kind: telemetry.Counter,
		Help: "Transactions that this instance has committed to its storage, each synced. Records consumed for each of them say how much one has.",
	}}
}

// WaitCatalogue returns the metrics of how long a service waits for its storage, and for
// Kafka.
func WaitCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: storageUpdate, Kind: telemetry.Histogram, Unit: "s", Buckets: catalogue.DurationBuckets(),
		Help: "Time that a change of the storage took, with the wait for its turn and for a connection, whatever came of it.",
	}, {
		Name: kafkaPublish, Kind: telemetry.Histogram, Unit: "s", Buckets: catalogue.DurationBuckets(),
		Help: "Time until Kafka had acknowledged the records that the service gave it together, or until it gave up.",
	}}
}

// PostgresCatalogue returns the metrics that services add whose storage is
// PostgreSQL. A service whose storage is a file has none.
func PostgresCatalogue() telemetry.Catalogue {
	return telemetry.Catalogue{{
		Name: dbConnections, Kind: telemetry.Gauge, Labels: []string{"state"},
		Help: "Connections to the database server.", Bound: "used or idle", MaxSeries: 2,
	}, {
		Name: dbConnectionsMax, Kind: telemetry.Gauge,
		Help: "The most connections to the database server that there may be, as set.",
	}, {
		Name: dbWaits, Kind: telemetry.Counter,
		Help: "How often a connection to the database server had to be waited for, since all were used.",
	}}
}
