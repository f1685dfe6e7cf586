"""Which processes `callboard up` starts."""

from __future__ import annotations

import sys

import pytest

from tests.ops.command import callboard

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_a_stranger_is_not_started() -> None:
    done = callboard("up", "--only", "fish")

    assert done.returncode == 2
    assert "fish" in done.stderr and "camera" in done.stderr
