"""What `callboard up` prints once it is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.environment import RawValue
from ops.process.banner import Ready, announce, hints, public
from ops.process.datadir import DataFolder
from ops.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALLBOARD_RUNTIME_DIR", str(tmp_path / "register"))
    return tmp_path / "data"


def made(**variables: str) -> Settings:
    flags = {f"CALLBOARD_{name}": RawValue(text, "flag", name) for name, text in variables.items()}
    return Settings.load("identity", flags=flags, adopt=())


def test_an_address_is_shown_without_its_credentials() -> None:
    assert public("nats://user:secret@127.0.0.1:4222") == "nats://***@127.0.0.1:4222"
    assert public("nats://127.0.0.1:4222") == "nats://127.0.0.1:4222"


def test_commands_name_a_folder_that_is_not_the_usual_one(folder: Path) -> None:
    rows = dict(hints(made(), ["edge", "agent", "camera"], folder, "http://127.0.0.1:8000", "nats://n", "sess_1"))

    assert f"--data-dir {folder}" in rows["follow"] and f"--data-dir {folder}" in rows["a job"]
    assert rows["API"] == "http://127.0.0.1:8000/docs"
    assert rows["camera"] == "http://127.0.0.1:8000/cameras/main/mjpeg"
    assert rows["events"] == "curl -N 'http://127.0.0.1:8000/callbacks/sessions/sess_1/sse?last=5'"
    assert "a token" not in rows


def test_with_keys_a_token_comes_first_and_pictures_are_left_out(folder: Path) -> None:
    rows = hints(made(JWT_SECRET="s" * 32), ["edge", "camera"], folder, "http://127.0.0.1:8000", "nats://n", "sess_1")

    assert rows[0][0] == "a token"
    assert "camera" not in dict(rows) and "Authorization: Bearer" in dict(rows)["events"]


def test_what_is_not_ready_is_named_with_where_its_logs_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = DataFolder(folder)
    announce(
        Ready(["edge", "agent"], {"agent"}, 1.25, "2.12.0", data, "http://127.0.0.1:8000", "nats://n", None), made()
    )

    said = capsys.readouterr().out
    assert "Callboard is not ready after 1.2 s" in said
    assert f"Not ready yet: agent; see {data.logs}" in said and "Ready: edge" in said
