"""The dashboards of Grafana and the manifest of the alert rules, written by `make manifests`."""
