"""Tests of router/nats/settings.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.nats.settings import BrokerSettings

FILE = Path("/etc/nats/file")


def test_addresses_are_read_one_by_one_with_their_scheme() -> None:
    assert BrokerSettings("a:4222, TLS://b ,").servers == ["nats://a:4222", "tls://b"]


@pytest.mark.parametrize(
    ("settings", "required"),
    [
        (BrokerSettings("nats://a"), False),
        (BrokerSettings("nats://a,tls://b"), True),
        (BrokerSettings("wss://a"), True),
        (BrokerSettings("nats://a", ca=FILE), True),
        (BrokerSettings("nats://a", cert=FILE), True),
    ],
)
def test_tls_is_required_by_an_address_or_a_file(settings: BrokerSettings, required: bool) -> None:
    assert settings.requires_tls is required


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"creds": FILE, "nkey_seed": FILE}, "give one of them"),
        ({"key": FILE}, "key needs cert"),
        ({"inbox": "a.b"}, "inbox needs one token"),
        ({"inbox": ""}, "inbox needs one token"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BrokerSettings(**wrong)
