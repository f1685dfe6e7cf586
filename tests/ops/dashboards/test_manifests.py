from __future__ import annotations

from ops.dashboards.manifests import MANIFEST, prometheus_rule


def test_the_rules_of_kubernetes_are_the_ones_of_prometheus() -> None:
    assert MANIFEST.read_text() == prometheus_rule(), "run `make manifests`"
