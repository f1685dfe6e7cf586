"""Writes the dashboards as Grafana reads them: one JSON file each, under `ops/grafana`.

`make manifests` runs it; a test says where the files are old, and another runs each expression against a real
Prometheus. Every query is narrowed by the dashboard's two variables.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from ops.dashboards.all import BOARDS
from ops.dashboards.panel import Board, Panel

FOLDER = Path(__file__).parents[1] / "grafana"
# A metric of ours, of the process or of the exporter of NATS, and the selector that stands behind it, if any.
_METRIC = re.compile(r"\b((?:edge|actors|router|ops|process|nats)_[a-z0-9_]+)(\{[^}]*\})?(?!\()")
_EVERYWHERE = 'namespace=~"$namespace",instance=~"$instance"'
WIDTH, HEIGHT, ACROSS = 8, 7, 3


def narrowed(expr: str) -> str:
    """Adds the dashboard's variables to every metric of ours."""

    def with_variables(found: re.Match[str]) -> str:
        own = (found[2] or "{}")[1:-1]
        return f"{found[1]}{{{own + ',' if own else ''}{_EVERYWHERE}}}"

    return _METRIC.sub(with_variables, expr)


def written(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, members in board.rows.items():
        panels.append({"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})  # fmt: skip
        top += 1
        small = all(panel.kind == "stat" for panel in members)
        width, height, across = (4, 4, 6) if small else (WIDTH, HEIGHT, ACROSS)
        for place, panel in enumerate(members):
            at = {"x": place % across * width, "y": top + place // across * height, "w": width, "h": height}
            panels.append(_panel(panel, len(panels) + 1, at))
        top += -(-len(members) // across) * height
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["callboard"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "tags": ["callboard"],
                "asDropdown": True,
                "title": "Callboard",
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": []},
        "templating": {
            "list": [_datasource(), *(_variable(name, board.variables_of) for name in ("namespace", "instance"))]
        },
        "panels": panels,
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1,
            "hide": 0, "multi": False, "includeAll": False, "current": {}}  # fmt: skip


def _variable(name: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "gridPos": at,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": source,
                "expr": narrowed(query.expr),
                "legendFormat": query.legend,
                "instant": panel.kind == "stat",
                "range": panel.kind != "stat",
            }
            for place, query in enumerate(panel.queries)
        ],
    }
    if panel.kind == "stat":
        made["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "graphMode": "none",
        }
    else:
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stack else 5,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
        }
        made["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    made["fieldConfig"] = {"defaults": defaults, "overrides": []}
    return made


def files() -> dict[str, str]:
    """The dashboards as files, by name."""
    return {
        f"{board.uid.removeprefix('callboard-')}.json": json.dumps(written(board), indent=1, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def main() -> int:
    """Writes the files."""
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
