"""`callboard backup`, as it is called."""

from __future__ import annotations

from pathlib import Path

from tests.ops.command import callboard


def test_a_backup_needs_a_nats_that_answers(tmp_path: Path) -> None:
    said = callboard("backup", str(tmp_path / "new"), NATS_URL="nats://127.0.0.1:1", NATS_CONNECT_TIMEOUT="0.5")

    assert said.returncode == 1 and "no NATS server answers" in said.stderr
    assert not (tmp_path / "new" / "callboard.json").exists()


def test_a_backup_needs_a_folder_to_save_to() -> None:
    said = callboard("backup")

    assert said.returncode == 2 and "FOLDER" in said.stderr
