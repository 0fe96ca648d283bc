{{/* The pod template of a service, the same for one with a volume and one without. */}}
{{- define "vigie.pod" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
metadata:
  labels:
    {{- include "vigie.selector" . | nindent 4 }}
    app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # New settings make new pods.
    checksum/settings: {{ include "vigie.allSettings" . | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "vigie.serviceAccount" .root }}
  automountServiceAccountToken: false
  # Else each Service of the namespace would become variables, some of which look like ours.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.preStopSeconds $values.stopSeconds 5 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $values.spread }}
      labelSelector:
        matchLabels:
          {{- include "vigie.selector" $ | nindent 10 }}
      {{- if not (include "vigie.hasVolume" $) }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  containers:
    - name: {{ .service }}
      {{- include "vigie.container" . | nindent 6 }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if not (include "vigie.hasVolume" .) }}
    - name: data
      emptyDir: {sizeLimit: {{ ternary $values.sentinelle.auditSpace "64Mi" (eq .service "sentinelle") }}}
    {{- end }}
    {{- with include "vigie.secretVolumes" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "vigie.container" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
{{- $scheme := include "vigie.scheme" .root | upper -}}
image: {{ include "vigie.image" .root | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
args: [{{ .service }}]
ports:
  - {name: http, containerPort: {{ include "vigie.port" .service }}, protocol: TCP}
envFrom:
  - configMapRef: {name: {{ include "vigie.name" . }}}
env:
  # What is requested is what Go's collector stays below, as long as it can; the container's limit is above it.
  - name: GOMEMLIMIT
    valueFrom:
      resourceFieldRef: {containerName: {{ .service }}, resource: requests.memory, divisor: "1"}
  {{- if and (or $values.otel.traces $values.otel.logs) $values.otel.headers.secret }}
  - name: OTEL_EXPORTER_OTLP_HEADERS
    valueFrom:
      secretKeyRef: {name: {{ $values.otel.headers.secret }}, key: {{ $values.otel.headers.key }}}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  {{- toYaml $own.resources | nindent 2 }}
# It answers once storage is read and Kafka has been found.
startupProbe:
  httpGet: {path: /health, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add $values.startupSeconds 4) 5 }}
# The process lives. That Kafka or the database is away is no reason to restart it.
livenessProbe:
  httpGet: {path: /health, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
# It can do its work: Kafka answers, storage takes a write, what is missing has been rebuilt.
readinessProbe:
  httpGet: {path: /health/ready, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- if $values.preStopSeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ $values.preStopSeconds }}}
{{- end }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  {{- range include "vigie.secretVolumes" . | fromYamlArray }}
  - {name: {{ .name }}, mountPath: /run/secrets/vigie/{{ .name }}, readOnly: true}
  {{- end }}
{{- end -}}

{{/* A Secret as a folder of files: a dict of name, secret, and files (file in the folder: key in the Secret). */}}
{{- define "vigie.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      {{- range $file, $key := .files }}
      - {key: {{ $key | quote }}, path: {{ $file }}}
      {{- end }}
{{ end -}}

{{- define "vigie.secretVolumes" -}}
{{- $values := .root.Values -}}
{{- $own := get $values .service -}}
{{- if $values.kafka.tls.enabled }}
{{- with $values.kafka.tls.ca }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "kafka-ca" "secret" .secret "files" (dict "ca.crt" .key)) }}
{{- end }}{{ end }}
{{- with $values.kafka.tls.client }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "kafka-client" "secret" .secret "files" (dict "tls.crt" .certificateKey "tls.key" .keyKey)) }}
{{- end }}{{ end }}
{{- end }}
{{- if $values.kafka.sasl.mechanism }}
{{- with $values.kafka.sasl.password }}
{{- include "vigie.secretVolume" (dict "name" "kafka-password" "secret" .secret "files" (dict "password" .key)) }}
{{- end }}
{{- end }}
{{- with $values.database.url }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "database" "secret" .secret "files" (dict "url" .key)) }}
{{- end }}{{ end }}
{{- with $values.database.ca }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "database-ca" "secret" .secret "files" (dict "ca.crt" .key)) }}
{{- end }}{{ end }}
{{- with $values.http.tls }}{{ if .secret }}
{{- $files := dict "tls.crt" "tls.crt" "tls.key" "tls.key" }}
{{- if eq $.service "sentinelle" }}{{ $_ := set $files "ca.crt" .caKey }}{{ end }}
{{- include "vigie.secretVolume" (dict "name" "http-tls" "secret" .secret "files" $files) }}
{{- end }}{{ end }}
{{- with $own.tokens }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "tokens" "secret" .secret "files" (dict "tokens" .key)) }}
{{- end }}{{ end }}
{{- with $own.peersToken }}{{ if .secret }}
{{- include "vigie.secretVolume" (dict "name" "peers-token" "secret" .secret "files" (dict "token" .key)) }}
{{- end }}{{ end }}
{{- with $values.probe.token }}{{ if and .secret (has $.service (list "commande" "sentinelle")) }}
{{- include "vigie.secretVolume" (dict "name" "probe-token" "secret" .secret "files" (dict "token" .key)) }}
{{- end }}{{ end }}
{{- end -}}
