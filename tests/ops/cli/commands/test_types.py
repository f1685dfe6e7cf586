"""`callboard types`: which language, and where to."""

from __future__ import annotations

import pytest

from tests.ops.cli.commands.words import run


@pytest.mark.parametrize(
    ("language", "word"), [("python", "class ProgressData"), ("typescript", "interface ProgressData")]
)
def test_the_types_are_printed_where_no_file_is_named(
    language: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("types", language) == 0
    assert word in capsys.readouterr().out
