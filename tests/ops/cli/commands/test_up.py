"""`callboard up`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import run, settings


def test_its_flags_are_settings_of_what_it_starts() -> None:
    made = settings("up", "--port", "0", "--only", "edge", "--only", "agent", "--no-demo", "--data-dir", "here")

    assert (made.up.only, made.up.demo) == (("edge", "agent"), False)
    assert str(made.embedded.data_dir) == "here"


def test_a_part_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(Mistakes, match=r"fish.*camera"):
        run("up", "--only", "fish")
