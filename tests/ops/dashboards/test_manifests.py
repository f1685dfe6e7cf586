from __future__ import annotations

from ops.dashboards.manifests import MANIFEST, NATS_DASHBOARD, nats_dashboard, prometheus_rule


def test_the_rules_of_kubernetes_are_the_ones_of_prometheus() -> None:
    assert MANIFEST.read_text() == prometheus_rule(), "run `make manifests`"


def test_the_dashboard_of_the_exporter_is_what_the_code_makes() -> None:
    assert NATS_DASHBOARD.read_text() == nats_dashboard(), "run `make manifests`"
