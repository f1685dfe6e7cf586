"""Verdicts that several checks share."""

from __future__ import annotations

import pytest

from ops.cli.checks.findings import FAIL, OK, WARN, body_of, clock_finding, store_mend
from ops.process.http import HttpAnswer


@pytest.mark.parametrize(
    ("seconds", "verdict", "found"),
    [(0.4, OK, "agrees with ours"), (3.0, WARN, "3.0 s apart from ours"), (6.0, FAIL, "6.0 s apart from ours")],
)
def test_clocks_may_differ_a_little(seconds: float, verdict: str, found: str) -> None:
    judged = clock_finding("clock", seconds, "ours")

    assert (judged.verdict, judged.found) == (verdict, found)
    assert bool(judged.mend) == (verdict != OK)


def test_a_body_that_is_no_object_is_an_empty_one() -> None:
    assert body_of(HttpAnswer(200, body=b'{"a": 1}')) == {"a": 1}
    assert body_of(HttpAnswer(200, body=b"[1]")) == {}
    assert body_of(HttpAnswer(502, body=b"<html>")) == {}


def test_what_mends_a_store_depends_on_its_code() -> None:
    assert "streams apply" in store_mend("stream_missing")
    assert store_mend("ok") == store_mend(None) == ""
