"""Tests of router/sdk/connect.py."""

from __future__ import annotations

import pytest

from router.broker import Broker
from router.errors import BadInput
from router.nats.settings import BrokerSettings
from router.sdk import Run, RunSettings, SyncRun
from router.sdk.connect import DEFAULT_URL, address, sender_to
from router.sdk.over_http import HttpDoor, HttpSender
from router.sdk.over_nats import NatsSender
from router.sdk.queued import Life
from tests.router.sdk.runs import events_of

LIFE = Life("agent", "one", "one", "a1", "sdk")


def test_the_address_decides_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_URL", raising=False)

    assert isinstance(sender_to(None, LIFE, 10, None), NatsSender) and address(None) == DEFAULT_URL
    assert isinstance(sender_to("tls://nats:4222", LIFE, 10, None), NatsSender)
    assert isinstance(sender_to(BrokerSettings(), LIFE, 10, None), NatsSender)
    assert isinstance(sender_to("http://edge:8000", LIFE, 10, None), HttpSender)
    monkeypatch.setenv("CALLBOARD_URL", "https://edge.example")
    assert isinstance(sender_to(None, LIFE, 10, "secret"), HttpSender)


@pytest.mark.parametrize("kind", [Run, SyncRun])
def test_an_address_of_an_unknown_kind_is_refused_at_once(kind: type[Run] | type[SyncRun]) -> None:
    with pytest.raises(BadInput, match="ftp:// is no way to Callboard"):
        kind("one", url="ftp://me:secret@there")
    with pytest.raises(BadInput) as told:
        sender_to("ftp://me:secret@there", LIFE, 10, None)
    assert "secret" not in str(told.value)


def test_credentials_in_an_address_are_not_shown() -> None:
    assert sender_to("http://me:secret@edge:8000/", LIFE, 10, None).url == "http://edge:8000"
    assert sender_to("nats://me:secret@there:4222", LIFE, 10, None).url == "nats://***@there:4222"
    assert HttpDoor("http://edge:8000/", "token").url == "http://edge:8000"


async def test_a_run_without_an_address_goes_where_the_environment_says(
    nats_server: str, broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_URL", nats_server)

    async with Run.connect() as shared, Run(entity, shared, settings=RunSettings()):
        pass
    async with Run(entity):
        pass

    assert len(await events_of(broker, entity)) == 4
