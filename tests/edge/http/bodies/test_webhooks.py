"""The bodies of webhook requests are read strictly."""

from __future__ import annotations

import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.webhooks import DisableBody, RecoverBody, ReplayBody, ResendRequest


def test_rates_and_times_are_read_strictly() -> None:
    assert (read_as({"since": 1}, RecoverBody).rate, read_as({"rate": 5}, RecoverBody).rate) == (100.0, 5.0)
    for bad in (0, -1, True, "5", float("nan"), 1e9):
        with pytest.raises(Problem) as refused:
            read_as({"rate": bad}, RecoverBody)
        assert (refused.value.code, refused.value.more) == ("bad_body", {"field": "rate"})
    for worse in (True, [], {}):
        with pytest.raises(Problem) as refused:
            read_as({"since": worse}, ReplayBody)
        assert (refused.value.code, refused.value.more) == ("bad_body", {"field": "since"})


@pytest.mark.parametrize(
    ("shape", "body", "field"),
    [
        (ResendRequest, {"event": ""}, "event"),
        (ResendRequest, {"event": None}, "event"),
        (ResendRequest, {"event": "e", "idempotency_key": "a b"}, "idempotency_key"),
        (ReplayBody, {"last": True}, "last"),
        (ReplayBody, {"cursor": 7}, "cursor"),
        (DisableBody, {"reason": ""}, "reason"),
        (DisableBody, {"reason": "x" * 201}, "reason"),
    ],
    ids=str,
)
def test_a_bad_field_is_refused_by_name(shape: type, body: dict[str, object], field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_as(body, shape)

    assert (refused.value.code, refused.value.more) == ("bad_body", {"field": field})
