"""The groups of readers of which a few look at what they get."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

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


def test_where_events_are_counted_all_have_everything_once_each_has_as_many_events(group: AudienceGroup) -> None:
    group.counted = True
    for client in group.clients.values():
        client.bytes = 10
    group.clients[2].events = 2
    group.clients[0].events = 2
    assert not group.even()

    group.clients[1].events = 2
    assert group.even()


def test_a_client_says_hello_behind_the_head_and_is_ready_when_it_was_answered() -> None:
    ours, theirs = socket.socketpair()
    made = AudienceGroup(ready=b"subscribed", hello=b"subscribe")
    client = made.clients[0] = AudienceMember(ours, True)
    head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    with ours, theirs:
        Audience._open_up(client, made, head[:-2])
        Audience._open_up(client, made, head)
        Audience._open_up(client, made, head + b"sub")
        assert theirs.recv(100) == b"subscribe" and client.head is not None

        Audience._open_up(client, made, head + b'subscribed{"at":1')
        assert client.head is None and client.events == 1
        with pytest.raises(SystemExit, match="refused"):
            Audience._open_up(client, made, b"HTTP/1.1 403 Forbidden\r\n\r\n")


def test_latencies_are_told_in_milliseconds() -> None:
    spread = Audience._spread([n * 1_000_000 for n in range(1, 101)])

    assert spread == {"samples": 100, "p50": 51.0, "p99": 100.0, "worst": 100.0}
    assert Audience._spread([]) == {}


@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_counted_once_wherever_the_kernel_cuts_them(tmp_path: Path, stamps: bool, size: int) -> None:
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    audience, made = Audience(progress), AudienceGroup(counted=True)
    said = b'data: {"at":1222222222222222222,"text":"at"}\n\n' * 3
    ours, theirs = socket.socketpair()
    client = made.clients[0] = AudienceMember(ours, True)
    client.head = None
    with ours, theirs:
        for start in range(0, len(said), size):
            theirs.sendall(said[start : start + size])
            audience._read(client, made, stamps)

    assert client.events == 3 and client.bytes == len(said)
    assert len(made.latencies) == (3 if stamps else 0)
