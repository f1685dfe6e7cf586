"""Where Centrifugo is looked for, and what is said where it cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ops.bench import centrifugo
from ops.bench.centrifugo import MODULE, configuration, found


def _program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where programs are looked for."""
    monkeypatch.setattr(centrifugo, "search_path", lambda: str(tmp_path))
    monkeypatch.setattr(centrifugo, "GO_FOLDER", str(tmp_path))
    return tmp_path


async def test_one_that_is_installed_is_taken(folder: Path) -> None:
    program = _program(folder / "centrifugo", "")

    assert await found() == program


async def test_without_it_and_without_go_it_is_left_out(folder: Path) -> None:
    assert await found() == "left out: neither centrifugo nor go is installed"


async def test_go_installs_it_beside_this_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(folder / "go", f'echo "$@" > "{folder}/asked"; echo "$GOBIN" >> "{folder}/asked"')

    path = await found()

    assert path == Path(sys.executable).parent / "centrifugo"
    assert (folder / "asked").read_text().split() == ["install", f"{MODULE}@{centrifugo.VERSION}", str(path.parent)]


async def test_what_go_says_where_it_fails_is_the_reason(folder: Path) -> None:
    _program(folder / "go", "echo first >&2; echo 'module lookup disabled' >&2; exit 1")

    assert str(await found()).endswith("failed: module lookup disabled")


async def test_an_installation_that_takes_too_long_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(folder / "go", "exec tail -f /dev/null")
    monkeypatch.setattr(centrifugo, "INSTALL_SECONDS", 0.1)

    assert "took more than 0.1 s" in str(await found())


def test_nobody_is_pinged_and_everybody_may_listen() -> None:
    settings = configuration(7000)

    assert settings["http_server"] == {"address": "127.0.0.1", "port": 7000}
    assert settings["client"] == {"allow_anonymous_connect_without_token": True, "ping_interval": "3600s"}
