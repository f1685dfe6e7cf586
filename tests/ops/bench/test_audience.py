"""The groups of readers of which a few look at what they get."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ops.bench.audience import Audience, AudienceGroup, AudienceMember


@pytest.fixture
def group() -> Iterator[AudienceGroup]:
    made = AudienceGroup()
    for number, witness in enumerate((True, False, True)):
        made.clients[number] = AudienceMember(socket.socket(), witness)
    yield made
    for client in made.clients.values():
        client.socket.close()


def test_all_have_everything_once_each_has_as_many_bytes_as_the_last_witness(group: AudienceGroup) -> None:
    assert group.witness is group.clients[2]
    group.clients[2].bytes = 10
    assert not group.even()

    for client in group.clients.values():
        client.bytes = 10
    assert group.even()


def test_latencies_are_told_in_milliseconds() -> None:
    spread = Audience._spread([n * 1_000_000 for n in range(1, 101)])

    assert spread == {"samples": 100, "p50": 51.0, "p99": 100.0, "worst": 100.0}
    assert Audience._spread([]) == {}
