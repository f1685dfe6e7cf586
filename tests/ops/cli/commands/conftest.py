"""Keeps commands that run in the tests' own process away from settings and systems of the person who runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CALLBOARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CALLBOARD_RUNTIME_DIR", str(tmp_path / "register"))
    monkeypatch.chdir(tmp_path)
