{{- /*
The Deployment of an actor. Arguments: root, actor (such as camera), instance ("main", or the name of one of several),
values, more (variables), rules (whether the alerts' rules are mounted).
*/}}
{{- define "callboard.actor" -}}
{{- $app := include "callboard.actorName" . }}
{{- $object := include "callboard.read" (dict "root" .root "file" "base/actor/deployment.yaml" "kind" "Deployment") | fromYaml }}
{{- $template := $object.spec.template }}
{{- $spec := $template.spec }}
{{- $container := first $spec.containers }}
{{- $user := include "callboard.natsUser" .actor | fromYamlArray }}
{{- $_ := set $object.metadata "name" $app }}
{{- $_ := set (first $spec.initContainers) "env" $user }}
{{- $_ := set $container "args" (list "actor" .actor) }}
{{- $own := default (list) .more }}
{{- if ne .instance "main" }}{{ $own = append $own (dict "name" "CALLBOARD_INSTANCE" "value" .instance) }}{{ end }}
{{- if .rules }}
  {{- $own = append $own (dict "name" "CALLBOARD_ALERTS_RULES_FILE" "value" "/etc/alert-rules/rules.yaml") }}
  {{- $_ := set $container "volumeMounts" (append $container.volumeMounts (dict "name" "alert-rules" "mountPath" "/etc/alert-rules" "readOnly" true)) }}
  {{- $_ := set $spec "volumes" (append $spec.volumes (dict "name" "alert-rules" "configMap" (dict "name" "alert-rules"))) }}
{{- end }}
{{- $_ := set $container "env" (concat $container.env (include "callboard.natsUser" .actor | fromYamlArray) $own) }}
{{- $_ := set $template "spec" (include "callboard.pod" (dict "root" .root "spec" $spec "main" "actor" "values" .values) | fromYaml) }}
{{- $_ := set $template "metadata" (include "callboard.podMetadata" (dict "template" $template "values" .values) | fromYaml) }}
{{- include "callboard.print" (dict "root" .root "app" $app "object" $object) }}
{{- end }}

{{- /* actor-camera, and actor-camera-door for one of several. Arguments: actor, instance. */}}
{{- define "callboard.actorName" -}}
{{- if eq .instance "main" }}actor-{{ .actor }}{{ else }}{{ printf "actor-%s-%s" .actor .instance | lower | replace "_" "-" }}{{ end }}
{{- end }}

{{- /* The NetworkPolicy of an actor that follows a device. Arguments: root, actor, instance, ports. */}}
{{- define "callboard.devicePolicy" -}}
{{- $app := include "callboard.actorName" . }}
{{- $object := include "callboard.read" (dict "root" .root "file" (printf "components/%s/policy.yaml" .actor) "kind" "NetworkPolicy") | fromYaml }}
{{- $_ := set $object.metadata "name" (trimPrefix "actor-" $app) }}
{{- $_ := set $object.spec.podSelector "matchLabels" (dict "app.kubernetes.io/name" $app) }}
{{- with .ports }}
  {{- $ports := list }}
  {{- range . }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end }}
  {{- $_ := set (first $object.spec.egress) "ports" $ports }}
{{- end }}
{{- include "callboard.print" (dict "root" .root "object" $object) }}
{{- end }}
