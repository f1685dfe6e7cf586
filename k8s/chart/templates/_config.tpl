{{- /* What every component is told, from base/kustomization.yaml: CALLBOARD_… by name. */}}
{{- define "callboard.config" -}}
{{- $told := dict }}
{{- range (.Files.Get "base/kustomization.yaml" | fromYaml).configMapGenerator }}
  {{- if eq .name "callboard" }}
    {{- range .literals }}{{ $pair := splitn "=" 2 . }}{{ $_ := set $told $pair._0 $pair._1 }}{{ end }}
  {{- end }}
{{- end }}
{{- if .Values.nats.enabled }}
  {{- $_ := set $told "CALLBOARD_REPLICAS" (toString .Values.nats.replicas) }}
{{- else }}
  {{- $_ := set $told "CALLBOARD_NATS_URL" (.Values.nats.external.url | required "nats.external.url is needed where nats.enabled is false") }}
  {{- $_ := set $told "CALLBOARD_REPLICAS" (toString .Values.nats.external.replicas) }}
  {{- if not .Values.nats.external.caSecret }}{{ $told = omit $told "CALLBOARD_NATS_CA" }}{{ end }}
{{- end }}
{{- range $name, $value := .Values.config }}{{ $_ := set $told $name (toString $value) }}{{ end }}
{{- toJson $told }}
{{- end }}

{{- define "callboard.eventTypes" -}}
{{- dict "event-types.yaml" (default (.Files.Get "base/event-types.yaml") .Values.eventTypes) | toJson }}
{{- end }}

{{- /* The servers' configuration: without a cluster where there is one server, else with a route to each. */}}
{{- define "callboard.natsConfig" -}}
{{- $text := .Files.Get "base/nats/nats.conf" }}
{{- $replicas := int .Values.nats.replicas }}
{{- if eq $replicas 1 }}
  {{- $text = regexReplaceAll "(?s)\ncluster \\{.*?\n\\}\n" $text "\n" }}
{{- else }}
  {{- $routes := list }}
  {{- range until $replicas }}{{ $routes = append $routes (printf "    \"nats://nats-%d.nats-headless:6222\"\n" .) }}{{ end }}
  {{- $text = regexReplaceAll "(?s)(routes: \\[\n).*?(  \\])" $text (printf "${1}%s${2}" (join "" $routes)) }}
{{- end }}
{{- with .Values.nats.jetstream.maxFile }}{{ $text = regexReplaceAll "max_file_store: \\w+" $text (printf "max_file_store: %s" .) }}{{ end }}
{{- with .Values.nats.jetstream.maxMemory }}{{ $text = regexReplaceAll "max_memory_store: \\w+" $text (printf "max_memory_store: %s" .) }}{{ end }}
{{- dict "nats.conf" $text "accounts.conf" (.Files.Get "base/nats/accounts.conf") | toJson }}
{{- end }}

{{- /* How a component of a name comes to NATS: its variables. */}}
{{- define "callboard.natsUser" -}}
- {name: CALLBOARD_NATS_USER, value: {{ . }}}
- {name: CALLBOARD_NATS_INBOX, value: _INBOX_{{ . }}}
- name: CALLBOARD_NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: nats-users, key: {{ . }}}}
{{- end }}
