"""Tests of actors/catalog.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actors.catalog import ACTORS
from actors.system.actor import Actor


@pytest.mark.parametrize("name", list(ACTORS))
def test_every_actor_of_the_catalog_loads_under_its_name(name: str) -> None:
    kind = ACTORS[name].load()

    assert issubclass(kind, Actor) and kind.name == name
    assert ACTORS[name].about


def test_reading_the_catalog_imports_no_actor() -> None:
    code = "import sys, actors.catalog; print([m for m in sys.modules if m.startswith('actors.')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['actors.catalog']"
