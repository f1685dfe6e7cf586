"""The environment of this process, and that of a child."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops import environment


def test_only_variables_that_are_meant_for_us_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "9000")
    # Kubernetes sets these for services of our name.
    monkeypatch.setenv("CALLBOARD_EDGE_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CALLBOARD_EDGE_PORT_8000_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("CALLBOARD_PORT", "tcp://10.0.0.1:8000")

    found = environment.variables()

    assert found["CALLBOARD_EDGE_PORT"] == ("9000", "environment", "CALLBOARD_EDGE_PORT")
    assert not {"CALLBOARD_EDGE_SERVICE_HOST", "CALLBOARD_EDGE_PORT_8000_TCP_ADDR", "CALLBOARD_PORT"} & found.keys()


def test_a_child_inherits_all_but_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_LIFELINE", "7")
    monkeypatch.setenv("CALLBOARD_READY", "8:3f0a")
    monkeypatch.setenv("CALLBOARD_TOKEN", "t")

    made = environment.child_environment({"CALLBOARD_EDGE_PORT": "1"})

    assert not {"CALLBOARD_LIFELINE", "CALLBOARD_READY"} & made.keys()
    assert (made["CALLBOARD_TOKEN"], made["CALLBOARD_EDGE_PORT"], made["PYTHONUNBUFFERED"]) == ("t", "1", "1")


def test_a_descriptor_counts_only_while_it_is_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setenv("CALLBOARD_READY", f"{file.fileno()}:3f0a")
        assert environment.inherited_descriptor("CALLBOARD_READY") == file.fileno()

    assert environment.inherited_descriptor("CALLBOARD_READY") is None
    monkeypatch.setenv("CALLBOARD_READY", "none")
    assert environment.inherited_descriptor("CALLBOARD_READY") is None


def test_tools_beside_this_python_are_found_first() -> None:
    first, _, rest = environment.search_path().partition(os.pathsep)

    assert (Path(first) / "python").exists()
    assert rest == os.environ["PATH"]
