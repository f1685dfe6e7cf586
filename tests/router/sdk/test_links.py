"""What is made of an answer that is a refusal."""

from __future__ import annotations

import pytest

from router.sdk.links import HttpRefusal


@pytest.mark.parametrize(
    ("status", "passing"), [(401, False), (403, False), (404, False), (408, True), (429, True), (503, True)]
)
def test_what_passes_is_told_from_what_stays(status: int, passing: bool) -> None:
    assert HttpRefusal(status, "code", "detail").passing is passing


def test_a_refusal_without_words_says_its_status() -> None:
    assert str(HttpRefusal(502, "", "")) == "the server answered 502"
