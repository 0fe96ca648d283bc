#!/bin/sh
# Gives Elasticsearch the index template of the logs, and Kibana the data view
# and the searches. It can run again: what is there is replaced. The container
# logging-setup runs it; ELASTICSEARCH_URL and KIBANA_URL say where they are.
set -eu
here=$(dirname "$0")

put_template() {
	curl --fail-with-body -sS --max-time 10 -X PUT "$ELASTICSEARCH_URL/_index_template/vigie-logs" \
		-H 'Content-Type: application/json' --data-binary "@$here/index-template.json"
}

# Kibana answers 200 also where it took nothing: its answer says whether it did.
import_objects() {
	answer=$(curl --fail-with-body -sS --max-time 30 -X POST "$KIBANA_URL/api/saved_objects/_import?overwrite=true" \
		-H 'kbn-xsrf: vigie' -F "file=@$here/saved-objects.ndjson") || { echo "$answer"; return 1; }
	case $answer in *'"success":true'*) ;; *) echo "$answer" && return 1 ;; esac
}

# again COMMAND: for up to a minute. Elasticsearch is healthy some moments before
# it has the mappings that the template builds on.
again() {
	tries=30
	until "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "setup: gave up: $*" >&2; exit 1; }
		sleep 2
	done
}

again put_template
again import_objects
echo "logs are kept for 7 days; Kibana has the data view and the searches"
