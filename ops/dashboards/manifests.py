"""Writes the alert rules of ops/prometheus once more as a PrometheusRule of Kubernetes: `make manifests`.

A PrometheusRule holds the rules inside itself, so they cannot be used as they are. The dashboards need no copy:
`k8s/components/monitoring` has `ops/grafana` as a base.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "ops" / "prometheus" / "rules"
MANIFEST = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"
HEADER = "# Made by `make manifests` from ops/prometheus/rules; change those.\n"


def prometheus_rule(rules: Path = RULES) -> str:
    """Returns the manifest's text, with the groups of all rule files in the order of their names."""
    groups = [
        group
        for path in sorted(rules.glob("*.yml"))
        for group in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("groups", [])
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "callboard"},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


def main() -> int:
    """Writes the manifest."""
    MANIFEST.write_text(prometheus_rule(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
