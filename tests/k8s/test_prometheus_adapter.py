"""The rule of prometheus-adapter: built as it is applied, and asked of a real Prometheus as the adapter asks.

The adapter itself is in no registry of packages; what it does with a rule is written out in `_asked`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from router.nats.embedded import free_port
from tests import parts
from tests.k8s.overlay import K8S, Object, of_kind, read_objects
from tests.k8s.test_manifests import VERSIONS
from tests.ops.prometheus import prometheus
from tests.waiting import PATIENCE, eventually

SERVED = """\
import prometheus_client, sys
from edge.metrics import readers
readers.labels("ws").set(int(sys.argv[2]))
readers.labels("sse").set(1)
prometheus_client.start_http_server(int(sys.argv[1]), "127.0.0.1")
input()
"""


@contextlib.contextmanager
def _edge(readers: int) -> Iterator[int]:
    """A process with the edge's own metric, read by so many; its port."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", SERVED, str(port), str(readers)], stdin=subprocess.PIPE, cwd=K8S.parent
    ) as process:
        try:
            yield port
        finally:
            process.kill()


def _rule() -> Object:
    kubectl = parts.program(parts.KUBECTL)
    done = subprocess.run(
        [kubectl, "kustomize", str(K8S / "prometheus-adapter")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = read_objects(done.stdout)
    kubernetes_validate.validate(made, VERSIONS[-1], strict=True)
    assert made["metadata"] == {"name": "callboard-adapter-rules", "namespace": "monitoring"}
    (rule,) = yaml.safe_load(made["data"]["config.yaml"])["rules"]
    return dict(rule)


def _asked(rule: Object, namespace: str, pods: list[str]) -> str:
    """The query for pods of a namespace; series and labels are the ones that the rule names for the resources."""
    labels = {each["resource"]: label for label, each in rule["resources"]["overrides"].items()}
    matchers = f'{labels["namespace"]}="{namespace}",{labels["pod"]}=~"{"|".join(pods)}"'
    series = rule["seriesQuery"].partition("{")[0]
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)
    return str(query.replace("<<.GroupBy>>", labels["pod"]))


def test_the_rule_serves_what_the_autoscaler_asks_for() -> None:
    (scaler,) = of_kind("prod", "HorizontalPodAutoscaler")
    rule = _rule()

    wanted = {each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"] if each["type"] == "Pods"}
    assert wanted == {rule["name"]["as"]}
    assert rule["seriesQuery"].startswith(rule["name"]["matches"])


@pytest.mark.slow
async def test_prometheus_answers_with_the_readers_of_each_pod(tmp_path: Path) -> None:
    rule = _rule()
    with _edge(3) as one, _edge(40) as other:
        labels = {one: {"namespace": "callboard", "pod": "edge-a"}, other: {"namespace": "callboard", "pod": "edge-b"}}
        with prometheus(tmp_path, {"callboard-edge": [one, other]}, labels) as server:

            def found() -> dict[str, Any]:
                data = server.api("query", query=_asked(rule, "callboard", ["edge-a", "edge-b"]))
                return {each["metric"]["pod"]: float(each["value"][1]) for each in data["result"]}

            await eventually(lambda: len(found()) == 2)

            assert found() == {"edge-a": 4.0, "edge-b": 41.0}
            assert server.api("series", **{"match[]": rule["seriesQuery"]})
