{{- /*
The chart holds no manifest of its own: templates read the objects of k8s/base and k8s/components, which kustomize builds, too,
and put the values in. tests/k8s/test_chart.py compares the result with the overlays, object by object.
*/}}

{{- /* One object of a file. Arguments: root, file, kind; name where the file has several objects of the kind. */}}
{{- define "callboard.read" -}}
{{- $found := list }}
{{- range splitList "\n---\n" (.root.Files.Get .file | required (printf "the chart lacks the file %s" .file)) }}
  {{- $each := fromYaml . }}
  {{- if and (eq $each.kind $.kind) (or (not $.name) (eq $each.metadata.name (toString $.name))) }}
    {{- $found = append $found $each }}
  {{- end }}
{{- end }}
{{- if ne (len $found) 1 }}{{ fail (printf "%s has %d objects %s %v" .file (len $found) .kind .name) }}{{ end }}
{{- first $found | toJson }}
{{- end }}

{{- /* Prints all objects of a file as they are. Arguments: root, file; app (see callboard.print). */}}
{{- define "callboard.all" -}}
{{- range splitList "\n---\n" (.root.Files.Get .file | required (printf "the chart lacks the file %s" .file)) }}
{{ include "callboard.print" (dict "root" $.root "app" $.app "object" (fromYaml .)) }}
{{- end }}
{{- end }}

{{- /* Prints an object in the release's namespace with our labels. Arguments: root, object; app: the name by which it is selected. */}}
{{- define "callboard.print" -}}
{{- $object := .object }}
{{- $labels := dict
  "app.kubernetes.io/part-of" "callboard"
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) }}
{{- with .app }}{{ $_ := set $labels "app.kubernetes.io/name" . }}{{ end }}
{{- $_ := set $object.metadata "labels" (mergeOverwrite (default (dict) $object.metadata.labels) $labels) }}
{{- if ne $object.kind "Namespace" }}{{ $_ := set $object.metadata "namespace" .root.Release.Namespace }}{{ end }}
{{- if and .app (has $object.kind (list "Deployment" "StatefulSet" "Job")) }}
  {{- $name := dict "app.kubernetes.io/name" .app }}
  {{- $template := $object.spec.template }}
  {{- $_ := set $template "metadata" (mergeOverwrite (default (dict) $template.metadata) (dict "labels" $name)) }}
  {{- if ne $object.kind "Job" }}{{ $_ := set $object.spec "selector" (dict "matchLabels" $name) }}{{ end }}
  {{- range $object.spec.volumeClaimTemplates }}{{ $_ := set .metadata "labels" $name }}{{ end }}
{{- else if and .app (eq $object.kind "Service") }}
  {{- $_ := set $object.spec "selector" (dict "app.kubernetes.io/name" .app) }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}

{{- /* A ConfigMap whose name ends with a hash of its data, so that a change rolls out what reads it. Arguments: root, name, data. */}}
{{- define "callboard.configMap" -}}
{{- $metadata := dict "name" (include "callboard.hashed" (dict "name" .name "of" .data)) }}
{{- $object := dict "apiVersion" "v1" "kind" "ConfigMap" "metadata" $metadata "data" .data }}
{{- include "callboard.print" (dict "root" .root "app" .app "object" $object) }}
{{- end }}

{{- /* A name with a hash of something. Arguments: name, of. */}}
{{- define "callboard.hashed" -}}
{{- printf "%s-%s" .name (toJson .of | sha256sum | trunc 10) }}
{{- end }}

{{- /* repository:tag, or repository@digest. Arguments: of, tag. */}}
{{- define "callboard.image" -}}
{{- if .of.digest }}{{ printf "%s@%s" .of.repository .of.digest }}{{ else }}{{ printf "%s:%s" .of.repository (default .tag .of.tag) }}{{ end }}
{{- end }}

{{- /*
A pod's spec with the values of all pods and of one component. Arguments: root, spec, values (of the component), main (the
name of the container that its resources, variables and mounts are for).
*/}}
{{- define "callboard.pod" -}}
{{- $root := .root }}{{ $spec := .spec }}{{ $values := default (dict) .values }}
{{- $all := $root.Values }}
{{- $images := dict
  "callboard" (include "callboard.image" (dict "of" $all.image "tag" $root.Chart.AppVersion))
  "nats" (include "callboard.image" (dict "of" $all.nats.image "tag" ""))
  "natsio/prometheus-nats-exporter" (include "callboard.image" (dict "of" $all.nats.exporter.image "tag" "")) }}
{{- $maps := dict
  "callboard" (include "callboard.hashed" (dict "name" "callboard" "of" (include "callboard.config" $root | fromYaml)))
  "event-types" (include "callboard.hashed" (dict "name" "event-types" "of" (include "callboard.eventTypes" $root | fromYaml)))
  "nats" (include "callboard.hashed" (dict "name" "nats" "of" (include "callboard.natsConfig" $root | fromYaml))) }}
{{- $ca := or $all.nats.enabled $all.nats.external.caSecret }}
{{- range concat (default (list) $spec.initContainers) $spec.containers }}
  {{- $_ := set . "image" (get $images (first (splitList ":" .image)) | required (printf "no image for %s" .image)) }}
  {{- $container := . }}
  {{- if $all.image.pullPolicy }}{{ $_ := set . "imagePullPolicy" $all.image.pullPolicy }}{{ end }}
  {{- $ours := false }}
  {{- range .envFrom }}
    {{- $ours = true }}
    {{- $_ := set .configMapRef "name" (get $maps .configMapRef.name) }}
  {{- end }}
  {{- range .env }}
    {{- if and .valueFrom .valueFrom.secretKeyRef }}
      {{- if eq .valueFrom.secretKeyRef.name "nats-users" }}{{ $_ := set .valueFrom.secretKeyRef "name" $all.nats.usersSecret }}{{ end }}
    {{- end }}
  {{- end }}
  {{- $more := list }}
  {{- if $ours }}{{ $more = $all.extraEnv }}{{ end }}
  {{- if eq .name $.main }}
    {{- with $values.resources }}{{ $_ := set $container "resources" . }}{{ end }}
    {{- $more = concat $more (default (list) $values.extraEnv) }}
    {{- with $values.extraVolumeMounts }}{{ $_ := set $container "volumeMounts" (concat (default (list) $container.volumeMounts) .) }}{{ end }}
  {{- end }}
  {{- if $more }}{{ $_ := set . "env" (include "callboard.variables" (dict "env" .env "more" $more) | fromYamlArray) }}{{ end }}
  {{- if and (not $ca) .volumeMounts }}
    {{- $mounts := list }}
    {{- range .volumeMounts }}{{ if ne .name "nats-ca" }}{{ $mounts = append $mounts . }}{{ end }}{{ end }}
    {{- $_ := set . "volumeMounts" $mounts }}
  {{- end }}
{{- end }}
{{- $volumes := list }}
{{- range default (list) $spec.volumes }}
  {{- if .configMap }}
    {{- if hasKey $maps .configMap.name }}{{ $_ := set .configMap "name" (get $maps .configMap.name) }}{{ end }}
  {{- end }}
  {{- if .secret }}
    {{- if eq .secret.secretName "nats-tls" }}
      {{- $_ := set .secret "secretName" (ternary $all.nats.tlsSecret $all.nats.external.caSecret $all.nats.enabled) }}
    {{- end }}
  {{- end }}
  {{- if or $ca (ne .name "nats-ca") }}{{ $volumes = append $volumes . }}{{ end }}
{{- end }}
{{- $volumes = concat $volumes (default (list) $values.extraVolumes) }}
{{- if or $volumes $spec.volumes }}{{ $_ := set $spec "volumes" $volumes }}{{ end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "topologySpreadConstraints" }}
  {{- with get $values $key }}{{ $_ := set $spec $key . }}{{ end }}
{{- end }}
{{- with $all.image.pullSecrets }}{{ $_ := set $spec "imagePullSecrets" . }}{{ end }}
{{- toJson $spec }}
{{- end }}

{{- /* The annotations and labels of a component's pods. Arguments: template, values. */}}
{{- define "callboard.podMetadata" -}}
{{- $metadata := default (dict) .template.metadata }}
{{- with .values.podLabels }}{{ $_ := set $metadata "labels" (mergeOverwrite (dict) . (default (dict) $metadata.labels)) }}{{ end }}
{{- with .values.podAnnotations }}{{ $_ := set $metadata "annotations" . }}{{ end }}
{{- toJson $metadata }}
{{- end }}

{{- /* Variables with others put in place of those of the same name, or behind them. Arguments: env, more. */}}
{{- define "callboard.variables" -}}
{{- $names := list }}
{{- range .more }}{{ $names = append $names .name }}{{ end }}
{{- $kept := list }}
{{- range .env }}{{ if not (has .name $names) }}{{ $kept = append $kept . }}{{ end }}{{ end }}
{{- concat $kept .more | toJson }}
{{- end }}
