"""What asks the edge says whose fault it is that there is no answer."""

from __future__ import annotations

import pytest

from ops.cli.asking import read_answer
from ops.process.http import HttpAnswer
from router.errors import RouterError
from tests.ops.cli.commands.words import NOWHERE, run


def test_an_answer_that_is_no_json_says_nothing() -> None:
    assert read_answer(HttpAnswer(200, {}, b"<html>")) is None
    assert read_answer(HttpAnswer(200, {}, b'{"a": 1}')) == {"a": 1}


def test_where_no_edge_listens_that_is_told() -> None:
    with pytest.raises(RouterError, match=r"no edge answers at .* start one with `callboard up`"):
        run("camera", "--edge-url", NOWHERE)
