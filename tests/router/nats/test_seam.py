"""The seam to NATS: subjects of JetStream's API and its error codes stand in router/nats/ and nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
API = re.compile(r"^(\$JS\.|(STREAM|CONSUMER)\.(INFO|NAMES|LIST|MSG|CREATE|UPDATE|DELETE|PURGE)\b)")
# From the first to the last one of nats-server 2.14's errors.json.
ERROR_CODES = range(10_001, 10_226)


def _sources() -> list[Path]:
    found = [path for package in ("actors", "edge", "ops", "router") for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in found if (ROOT / "router" / "nats") not in path.parents)


def _constants(path: Path) -> Iterator[ast.Constant]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))


def _is_raw(value: object) -> bool:
    if isinstance(value, str):
        return API.match(value) is not None
    return isinstance(value, int) and value in ERROR_CODES


@pytest.mark.parametrize("value", ["$JS.API.INFO", "STREAM.INFO.", "CONSUMER.MSG.NEXT.", 10_077])
def test_what_is_raw_is_found(value: object) -> None:
    assert _is_raw(value)


def test_only_the_seam_speaks_the_api_of_jetstream() -> None:
    raw = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in _sources()
        for node in _constants(path)
        if _is_raw(node.value)
    ]

    assert raw == []
