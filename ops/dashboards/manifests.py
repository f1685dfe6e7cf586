"""Writes what k8s/ needs in a form of its own: `make manifests`.

A PrometheusRule holds the alert rules of ops/prometheus inside itself, so they cannot be used as they are. The dashboards
need no copy, for `k8s/components/monitoring` has `ops/grafana` as a base; only the one of the exporter of NATS lies beside
the exporter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from ops.dashboards.nats import NATS
from ops.dashboards.write import written

ROOT = Path(__file__).parents[2]
RULES = ROOT / "ops" / "prometheus" / "rules"
MANIFEST = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"
NATS_DASHBOARD = ROOT / "k8s" / "components" / "nats-exporter" / "nats.json"
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


def nats_dashboard() -> str:
    """Returns the dashboard of the exporter of NATS."""
    return json.dumps(written(NATS), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes the files."""
    NATS_DASHBOARD.write_text(nats_dashboard(), encoding="utf-8")
    MANIFEST.write_text(prometheus_rule(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
