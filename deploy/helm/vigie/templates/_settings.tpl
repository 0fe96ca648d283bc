{{/* The environment of a service, as a map: docs/configuration.md explains each. What is secret is not here, but where to
     read it: see _pod.tpl. */}}
{{- define "vigie.settings" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
KAFKA_BROKERS: {{ $values.kafka.brokers | quote }}
KAFKA_PATIENCE: {{ $values.kafka.patience | quote }}
{{- if ne .service "commande" }}
KAFKA_SESSION_TIMEOUT: {{ $values.kafka.sessionTimeout | quote }}
{{- end }}
{{- if $values.kafka.tls.enabled }}
KAFKA_TLS: "true"
{{- with $values.kafka.tls.ca.secret }}
KAFKA_TLS_CA_FILE: /run/secrets/vigie/kafka-ca/ca.crt
{{- end }}
{{- with $values.kafka.tls.client.secret }}
KAFKA_TLS_CERT_FILE: /run/secrets/vigie/kafka-client/tls.crt
KAFKA_TLS_KEY_FILE: /run/secrets/vigie/kafka-client/tls.key
{{- end }}
{{- end }}
{{- with $values.kafka.sasl.mechanism }}
KAFKA_SASL_MECHANISM: {{ . | quote }}
KAFKA_SASL_USER: {{ $values.kafka.sasl.user | quote }}
KAFKA_SASL_PASSWORD_FILE: /run/secrets/vigie/kafka-password/password
{{- end }}
VIGIE_DATA: /data
RETENTION: {{ $values.retention | quote }}
{{- if $values.database.url.secret }}
DATABASE_URL_FILE: /run/secrets/vigie/database/url
DATABASE_MAX_CONNECTIONS: {{ $values.database.maxConnections | quote }}
{{- if $values.database.ca.secret }}
PGSSLMODE: verify-full
PGSSLROOTCERT: /run/secrets/vigie/database-ca/ca.crt
{{- end }}
{{- end }}
{{ upper .service }}_ADDR: "0.0.0.0:{{ include "vigie.port" .service }}"
HTTP_MAX_CONCURRENT: {{ $values.http.maxConcurrent | quote }}
HTTP_MAX_CONNECTIONS: {{ $values.http.maxConnections | quote }}
{{- if $values.http.tls.secret }}
HTTP_TLS_CERT_FILE: /run/secrets/vigie/http-tls/tls.crt
HTTP_TLS_KEY_FILE: /run/secrets/vigie/http-tls/tls.key
{{- if eq .service "sentinelle" }}
HTTP_TLS_CA_FILE: /run/secrets/vigie/http-tls/ca.crt
{{- with $values.http.tls.serverName }}
HTTP_TLS_SERVER_NAME: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if dig "tokens" "secret" "" $own }}
{{ upper .service }}_TOKENS_FILE: /run/secrets/vigie/tokens/tokens
{{- end }}
{{- if and $values.probe.token.secret (has .service (list "commande" "sentinelle")) }}
{{ upper .service }}_PROBE_TOKEN_FILE: /run/secrets/vigie/probe-token/token
{{- end }}
LOG_FORMAT: {{ $values.log.format | quote }}
LOG_LEVEL: {{ $values.log.level | quote }}
STOP_TIMEOUT: {{ $values.stopSeconds }}s
{{- include "vigie.otelSettings" .root }}
{{- if eq .service "sentinelle" }}
{{- include "vigie.sentinelleSettings" .root }}
{{- end }}
{{- end -}}

{{- define "vigie.otelSettings" -}}
{{- $otel := .Values.otel }}
OTEL_TRACES_EXPORTER: {{ ternary "otlp" "none" $otel.traces }}
OTEL_LOGS_EXPORTER: {{ ternary "otlp" "none" $otel.logs }}
{{- if or $otel.traces $otel.logs }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ $otel.endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ $otel.protocol | quote }}
{{- with $otel.sampler }}
OTEL_TRACES_SAMPLER: {{ . | quote }}
{{- end }}
{{- with $otel.samplerArgument }}
OTEL_TRACES_SAMPLER_ARG: {{ . | quote }}
{{- end }}
{{- with $otel.resourceAttributes }}
OTEL_RESOURCE_ATTRIBUTES: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "vigie.sentinelleSettings" -}}
{{- $own := .Values.sentinelle }}
SENTINELLE_BANK: {{ include "vigie.bank" . | quote }}
SENTINELLE_AUDIT_TEMP_DIR: /data
{{- if $own.peers }}
SENTINELLE_PEERS: {{ $own.peers | quote }}
{{- else }}
{{- $peers := list }}
{{- range without .Values.services "sentinelle" }}
{{- $peers = append $peers (printf "%s=%s://%s:%s" . (include "vigie.scheme" $) (include "vigie.headless" (dict "root" $ "service" .)) (include "vigie.port" .)) }}
{{- end }}
{{- with $peers }}
SENTINELLE_PEERS: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- if $own.peersToken.secret }}
SENTINELLE_PEERS_TOKEN_FILE: /run/secrets/vigie/peers-token/token
{{- end }}
{{- with $own.prometheusUrl }}
PROMETHEUS_URL: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* What the service is given in the end: its own settings go before. */}}
{{- define "vigie.allSettings" -}}
{{- $settings := include "vigie.settings" . | fromYaml -}}
{{- range $name, $value := get (get .root.Values .service) "settings" -}}
{{- $_ := set $settings $name (toString $value) -}}
{{- end -}}
{{ toYaml $settings }}
{{- end -}}

{{/* What cannot be meant so, beyond what the schema sees: one line each. */}}
{{- define "vigie.check" -}}
{{- $values := .Values -}}
{{- if not $values.kafka.brokers -}}
{{- fail "kafka.brokers is needed: --set kafka.brokers=HOST:PORT" -}}
{{- end -}}
{{- range $service := $values.services -}}
{{- $own := get $values . -}}
{{- if and (not $values.database.url.secret) (or (gt (int $own.replicas) 1) $own.autoscaling.enabled) (include "vigie.hasVolume" (dict "root" $ "service" .)) -}}
{{- fail (printf "%s: several instances share a PostgreSQL, which database.url.secret names; without it state is in SQLite, for one instance: set %s.replicas=1, without autoscaling" . .) -}}
{{- end -}}
{{- range $name, $_ := $own.settings -}}
{{- if regexMatch "(PASSWORD|TOKEN|HEADERS)$|^DATABASE_URL$" $name -}}
{{- fail (printf "%s is a secret, and the settings of %s are a ConfigMap: name a Secret, in kafka.sasl.password, database.url, tokens, peersToken, probe.token or otel.headers" $name $service) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $values.kafka.sasl -}}
{{- if and .mechanism (or (not .user) (not .password.secret)) -}}
{{- fail "kafka.sasl.mechanism needs kafka.sasl.user and kafka.sasl.password.secret" -}}
{{- end -}}
{{- end -}}
{{- if and (or $values.kafka.tls.ca.secret $values.kafka.tls.client.secret) (not $values.kafka.tls.enabled) -}}
{{- fail "kafka.tls names Secrets and is off: set kafka.tls.enabled=true" -}}
{{- end -}}
{{- if and $values.database.ca.secret (not $values.database.url.secret) -}}
{{- fail "database.ca is for the database of database.url, which is not set" -}}
{{- end -}}
{{- if and (or $values.otel.traces $values.otel.logs) (not $values.otel.endpoint) -}}
{{- fail "otel.traces and otel.logs need otel.endpoint, such as http://otel-collector.observability:4317" -}}
{{- end -}}
{{- end -}}
