"""This file is where the rules and dashboards of ops/ are written once more, as objects of Kubernetes: `make manifests`.

kustomize reads nothing outside its own folder, so what Prometheus and Grafana are given elsewhere is copied there. A test
says so where the copy is old.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "ops" / "prometheus" / "rules"
DASHBOARDS = ROOT / "ops" / "grafana"
GENERATED = ROOT / "k8s" / "components" / "monitoring" / "generated"
HEADER = "# Made by `make manifests` out of ops/prometheus/rules and ops/grafana; change those.\n"


def manifests(rules: Path = RULES, dashboards: Path = DASHBOARDS) -> Mapping[str, str]:
    """Makes the files, by name."""
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
    boards = {path.name: path.read_text(encoding="utf-8") for path in sorted(dashboards.glob("*.json"))}
    made = {"rules.yaml": HEADER + _yaml(rule), "kustomization.yaml": HEADER + _yaml(_kustomization(boards))}
    return made | boards


def _kustomization(boards: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["rules.yaml"],
    }
    if boards:
        for text in boards.values():
            json.loads(text)
        # One each: all of them together may be more than a ConfigMap holds.
        made["configMapGenerator"] = [
            {
                "name": f"dashboard-{Path(name).stem.replace('_', '-').lower()}",
                "files": [name],
                "options": {"labels": {"grafana_dashboard": "1"}, "disableNameSuffixHash": True},
            }
            for name in boards
        ]
    return made


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120, allow_unicode=True)


def main() -> int:
    """Writes the files, and takes away what is no longer made."""
    made = manifests()
    GENERATED.mkdir(parents=True, exist_ok=True)
    for path in GENERATED.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (GENERATED / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
