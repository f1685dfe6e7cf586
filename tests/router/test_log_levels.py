"""Tests of router/log_levels.py: levels of loggers that are changed while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from router.log_levels import BadLevel, levels, set_level


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("edge")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_levels_are_changed_while_the_process_runs() -> None:
    set_level("edge", "debug")
    set_level("root", "error")

    assert logging.getLogger("edge.hub.hub").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("actors.system").isEnabledFor(logging.WARNING)
    assert (levels()["edge"], levels()["root"]) == ("debug", "error")


@pytest.mark.parametrize(
    ("logger", "level"), [("edge", "loud"), ("edgy", "debug"), ("", "debug"), ("edge..hub", "info")]
)
def test_a_slip_of_the_pen_is_refused_and_changes_nothing(logger: str, level: str) -> None:
    before = levels()

    with pytest.raises(BadLevel):
        set_level(logger, level)

    assert levels() == before
