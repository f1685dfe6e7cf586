"""The edge's port is opened first, and what is wrong with it is said in one line."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from tests.ops.command import callboard

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_a_busy_port_is_told_with_a_free_one_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = callboard("up", "--port", str(port), "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1
    assert re.fullmatch(rf"callboard: port {port} on 127\.0\.0\.1 is in use; .* --port \d+\n", done.stderr)
    assert not (tmp_path / "data").exists()


def test_the_edge_is_not_offered_to_the_public(tmp_path: Path) -> None:
    done = callboard("up", "--host", "0.0.0.0", "--data-dir", str(tmp_path))

    assert done.returncode == 1
    assert "without authentication" in done.stderr
