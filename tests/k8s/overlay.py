"""Builds an overlay of k8s/ with kubectl, and finds its objects."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests import parts
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
# Beside the two that are shipped: every component there is, in one.
EVERYTHING = "everything"
OVERLAYS = ("dev", "prod", EVERYTHING)
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
Object = dict[str, Any]
# libyaml reads an overlay in a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Pods(NamedTuple):
    """What makes pods, and what they are made of."""

    name: str
    kind: str
    owner: Object
    labels: Mapping[str, str]
    spec: Object

    def ports(self) -> dict[str, int]:
        """The ports of its containers, by name."""
        return {
            port["name"]: port["containerPort"]
            for container in self.spec["containers"]
            for port in container.get("ports", [])
        }


@functools.cache
def built(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay, as `kubectl kustomize` makes them; without a kubectl the test is skipped."""
    kubectl = parts.program(parts.KUBECTL)
    with tempfile.TemporaryDirectory(prefix="callboard-overlay-") as folder:
        path = K8S / "overlays" / overlay
        if overlay == EVERYTHING:
            path = Path(folder)
            (path / "kustomization.yaml").write_text(_everything(path))
        done = subprocess.run(
            [kubectl, "kustomize", str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    return read_objects(done.stdout)


def read_objects(text: str) -> tuple[Object, ...]:
    """The objects of a stream of YAML documents."""
    return tuple(each for each in yaml.load_all(text, LOADER) if each)


def _everything(path: Path) -> str:
    # kustomize takes relative paths only.
    here = os.path.relpath(K8S, path.resolve())
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "callboard",
        "resources": [f"{here}/base"],
        # The simulator changes what `octane` brings.
        "components": [
            f"{here}/components/{name}"
            for name in sorted(
                (each.name for each in (K8S / "components").iterdir()), key=lambda n: (n == "simulator", n)
            )
        ],
        "images": [
            {"name": "callboard", "newTag": VERSION},
            {"name": "nats", "newTag": "2.15.1"},
            {"name": "natsio/prometheus-nats-exporter", "newTag": "0.20.1"},
        ],
    }
    return yaml.safe_dump(made)


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [each for each in built(overlay) if each["kind"] in kinds]


def pods(overlay: str) -> list[Pods]:
    """Everything that makes pods."""
    found = []
    for each in of_kind(overlay, "Deployment", "StatefulSet", "Job"):
        template = each["spec"]["template"]
        labels = template["metadata"].get("labels", {})
        found.append(Pods(each["metadata"]["name"], each["kind"], each, labels, template["spec"]))
    return found


def named(overlay: str, name: str) -> Pods:
    """The pods of one name."""
    return next(each for each in pods(overlay) if each.name == name)


def containers(overlay: str) -> Iterator[tuple[Pods, Object]]:
    """Every container, with the pods it is in."""
    for each in pods(overlay):
        for container in (*each.spec.get("initContainers", []), *each.spec["containers"]):
            yield each, container


def chosen(overlay: str, selector: Mapping[str, Any]) -> list[Pods]:
    """The pods that a selector chooses."""
    labels = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])

    def fits(pod: Pods) -> bool:
        for expression in expressions:
            assert expression["operator"] == "In", expression
            if pod.labels.get(expression["key"]) not in expression["values"]:
                return False
        return labels.items() <= pod.labels.items()

    return [pod for pod in pods(overlay) if fits(pod)]


def variables(overlay: str, container: Object) -> dict[str, str]:
    """The environment of a container; what comes from a Secret is named."""
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(overlay, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        elif "secretKeyRef" in variable["valueFrom"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            found[variable["name"]] = f"secret:{reference['name']}/{reference['key']}".ljust(40, ".")
    return found
