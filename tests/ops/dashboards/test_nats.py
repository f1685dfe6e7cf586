"""The exporter of NATS: its flags, and the metrics that its dashboard shows.

The exporter is in no registry of packages, so no test runs it; nats_exporter_metrics.txt is what it answered.
"""

from __future__ import annotations

import re
from pathlib import Path

from ops.dashboards.nats import NATS
from tests.k8s.overlay import EVERYTHING, named

ANSWERED = Path(__file__).with_name("nats_exporter_metrics.txt")


def test_every_metric_of_the_dashboard_is_one_that_the_exporter_gives() -> None:
    given = {line for line in ANSWERED.read_text().splitlines() if not line.startswith("#")}
    queries = [query for row in NATS.rows.values() for panel in row for query in panel.queries]
    shown = {name for query in queries for name in re.findall(r"nats_\w+", query.expr)}

    assert len(shown) > 10
    assert shown | {NATS.variables_of} <= given


def test_the_exporter_asks_the_server_of_its_pod_for_what_the_dashboard_shows() -> None:
    nats = named(EVERYTHING, "nats")
    server, exporter = nats.spec["containers"]

    assert f"http://localhost:{nats.ports()['monitor']}" in exporter["args"]
    assert f"-port={nats.ports()['metrics']}" in exporter["args"]
    assert {"-prefix=nats", "-varz", "-jsz=all", "-healthz_js_server_only"} <= set(exporter["args"])
    assert server["name"] == "nats"
