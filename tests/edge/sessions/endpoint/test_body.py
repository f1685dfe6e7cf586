"""The webhook fields of a body: null is a default, and only what is set is stored."""

from __future__ import annotations

import pytest

from edge.errors import Problem, read_as
from edge.sessions.endpoint.body import BatchBody, EndpointBody, Rotation, set_fields


def test_null_is_accepted_for_every_field() -> None:
    nothing = read_as(dict.fromkeys(EndpointBody.__struct_fields__), EndpointBody)

    assert set_fields(nothing) == {}


def test_only_what_is_not_null_is_set() -> None:
    assert set_fields(read_as({"max_n": None, "linger": 2}, BatchBody)) == {"max_bytes": 262144, "linger": 2.0}


@pytest.mark.parametrize(
    ("shape", "body", "field"),
    [
        (EndpointBody, {"retry_statuses": [299]}, "retry_statuses"),
        (EndpointBody, {"retry_statuses": ["2xx"]}, "retry_statuses"),
        (EndpointBody, {"oauth2": {"token_url": "https://a/"}}, "oauth2"),
        (EndpointBody, {"client_certificate": {"certificate": "x", "key": "y", "more": 1}}, "client_certificate"),
        (EndpointBody, {"ca": ""}, "ca"),
        (Rotation, {"signing": "rsa"}, "signing"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_by_the_name_of_its_field(shape: type, body: dict[str, object], field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_as(body, shape, "bad_webhook")

    assert (refused.value.code, refused.value.more) == ("bad_webhook", {"field": field})
