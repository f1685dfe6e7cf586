"""The address of a proxy is checked, and shown without its credentials."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from edge.webhooks.client.ssrf import GuardSettings


@pytest.mark.parametrize(
    "proxy",
    ["proxy:3128", "socks5://proxy:1080", "http://", "http://proxy:0", "http://proxy/path", "http://proxy?x=1",
     "http://proxy#x", "http://***@proxy:3128", "http://pro xy", "http://proxy:99999", 7, ""],
)  # fmt: skip
def test_what_is_no_proxy_is_refused(proxy: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": "https://receiver.example/", "proxy": proxy})

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", "proxy")
    if isinstance(proxy, str) and proxy:
        with pytest.raises(ValueError, match="proxy"):
            GuardSettings(proxy=proxy)


def test_the_credentials_of_a_proxy_are_never_shown_and_stay_over_changes() -> None:
    made = parse_endpoint(
        {"webhook_url": "https://receiver.example/", "proxy": "http://user:geheim@proxy.example:3128"}
    )

    changed = parse_change(made, {"timeout": 7}, "callback")

    assert changed.proxy == made.proxy and changed.describe()["proxy"] == "http://***@proxy.example:3128"
    assert "geheim" not in repr(changed) + str(changed.describe())
    assert parse_change(changed, {"proxy": None}, "callback").describe()["proxy"] is None
