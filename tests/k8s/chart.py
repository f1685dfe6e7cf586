"""Renders the Helm chart of k8s/chart, and brings objects of kustomize and of Helm to one form."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
from pathlib import Path
from typing import Any

from tests import parts
from tests.k8s.overlay import EVERYTHING, K8S, Object, read_objects
from tests.waiting import PATIENCE

CHART = K8S / "chart"
VALUES = {
    "dev": CHART / "values-dev.yaml",
    "prod": CHART / "values-prod.yaml",
    EVERYTHING: Path(__file__).parent / "everything.yaml",
}
# What Helm users expect on every object; kustomize sets only the last of them, and on the objects of the base alone.
HELM_LABELS = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "app.kubernetes.io/part-of",
)
# Both end these names with a hash, each in its own way; kustomize's Job has none.
HASHED = re.compile(r"(callboard|nats|event-types|streams)-[a-z0-9]{10}")


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs helm; without one the test is skipped, or fails where CI=true."""
    return subprocess.run(
        [parts.program(parts.HELM), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@functools.cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The objects that the chart renders with the values of an overlay."""
    return rendered_with(VALUES[overlay])


def rendered_with(*files: Path, chart: Path = CHART, namespace: str = "callboard") -> tuple[Object, ...]:
    """The objects that the chart renders with values files."""
    given = [argument for file in files for argument in ("--values", file)]
    done = helm("template", "callboard", chart, "--namespace", namespace, *given)
    assert done.returncode == 0, done.stderr
    return read_objects(done.stdout)


def by_name(objects: tuple[Object, ...]) -> dict[str, Object]:
    """The objects in the form that both ways share, by kind and name; each name is there once."""
    found: dict[str, Object] = {}
    for each in objects:
        plain = _plain(copy.deepcopy(each))
        name = f"{plain['kind']}/{plain['metadata']['name']}"
        assert name not in found, f"{name} is there twice"
        found[name] = plain
    return found


def _plain(value: Any) -> Any:
    """Without Helm's labels, hashes of names, the order of variables, and comments of nats.conf."""
    if isinstance(value, dict):
        if isinstance(labels := value.get("labels"), dict):
            value["labels"] = {name: text for name, text in labels.items() if name not in HELM_LABELS}
            if not value["labels"]:
                del value["labels"]
        for key, each in value.items():
            if key == "name" and isinstance(each, str) and HASHED.fullmatch(each):
                value[key] = each.rpartition("-")[0]
            elif key == "nats.conf":
                value[key] = [line.strip() for line in each.splitlines() if line.strip() and line.lstrip()[0] != "#"]
            elif key == "env":
                value[key] = sorted((_plain(variable) for variable in each), key=lambda variable: variable["name"])
            else:
                value[key] = _plain(each)
        return value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
