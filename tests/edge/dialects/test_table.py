"""The table of dialects: each by its name, which no two have, and a new one by one file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import FoldedDialect
from edge.dialects.geminivideo import ENTITY
from edge.dialects.table import DIALECTS, SESSION_DIALECTS, gather

ONE_FILE = """
from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import SharedDialect

BARE = SharedDialect(name={name!r}, encode=lambda record, _epoch: b"0")
"""


def test_dialects_are_found_by_their_names_and_sessions_choose_some_of_them() -> None:
    assert all(name == dialect.name for name, dialect in DIALECTS.items())
    assert SESSION_DIALECTS["callback"] is CALLBACK
    assert any(isinstance(dialect, FoldedDialect) for dialect in DIALECTS.values())
    assert ENTITY.name in DIALECTS and ENTITY.name not in SESSION_DIALECTS


def test_a_dialect_is_added_by_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "more_dialects").mkdir()
    (tmp_path / "more_dialects" / "bare.py").write_text(ONE_FILE.format(name="bare"))

    assert list(gather(import_module("more_dialects"))) == ["callback", "bare"]


def test_two_dialects_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "doubled_dialects").mkdir()
    (tmp_path / "doubled_dialects" / "bare.py").write_text(ONE_FILE.format(name="callback"))

    with pytest.raises(ValueError, match=r"the name 'callback', one of them in doubled_dialects\.bare"):
        gather(import_module("doubled_dialects"))
