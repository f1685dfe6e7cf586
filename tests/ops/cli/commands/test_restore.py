"""`callboard restore`, as it is called."""

from __future__ import annotations

from pathlib import Path

from tests.ops.command import callboard


def test_what_is_no_backup_is_refused_before_a_data_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "callboard.json").write_text('{"streams": 3}')
    said = callboard("restore", str(tmp_path), DATA_DIR=str(tmp_path / "data"))
    missing = callboard("restore", str(tmp_path / "nowhere"), DATA_DIR=str(tmp_path / "data"))

    assert said.returncode == 1 and "is no backup" in said.stderr
    assert missing.returncode == 1 and "no whole backup" in missing.stderr
    assert not (tmp_path / "data").exists()
