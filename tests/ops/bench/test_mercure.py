"""Where Mercure is looked for, and what is said where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench import mercure
from ops.bench.mercure import ISSUER, configuration, found
from ops.bench.stand import BenchError


def _program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_one_that_is_installed_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mercure, "search_path", lambda: str(tmp_path))

    assert str(found()).startswith("left out: mercure is not installed")
    assert found() != _program(tmp_path / "mercure", "") == found()


def test_it_listens_here_alone_and_publishers_need_its_key(tmp_path: Path) -> None:
    said = configuration(18080, tmp_path, "secret")

    assert "http://127.0.0.1:18080 {" in said and "admin off" in said and f"file_system {tmp_path}" in said
    assert f"issuer {ISSUER}" in said and "jwt secret HS256" in said and "anonymous" in said


@pytest.mark.parametrize("text", ["exit 1", '[ "$1" = run ] && exit 1; echo token'])
async def test_one_of_another_version_is_left_out(tmp_path: Path, text: str) -> None:
    program = _program(tmp_path / "mercure", text)

    with pytest.raises(BenchError, match=r"^left out: mercure .* version 1$"):
        async with mercure.mercure(program):
            pass
