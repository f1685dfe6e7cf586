"""The comparison: how its figures are put together, and one small run of each server that is there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from ops.bench import centrifugo, mercure, nchan, versus
from ops.bench.contestants import Contestant, Door, _callboard, _centrifugo, _mercure, _nchan, _starlette, _with_tokens
from ops.bench.report import matrix
from ops.bench.stand import TRANSPORTS, BenchError, Partner, Plan, partner
from ops.bench.versus import BURST, ComparisonTally, PeerComparison


def test_each_row_names_its_server_and_is_told_once() -> None:
    tally = ComparisonTally(["Callboard", "nchan"])
    for figure in (3.0, 1.0, 2.0):
        tally.add("CPU to open a WebSocket connection", "ms", "nchan", figure, {"server": figure})
        tally.add("CPU an event", "ms", "nchan", figure, {"server": figure})
        tally.add("CPU an event", "ms", "Callboard", figure, {"server": figure}, broker=figure / 10)

    rows = list(tally.rows())
    assert [row.what for row in rows] == [
        "CPU to open a WebSocket connection: nchan",
        "CPU an event: Callboard",
        "CPU an event: nchan",
    ]
    assert rows[1].figure == 2.0 and rows[1].busy == {"server": 2.0}
    assert [row.note for row in rows] == ["", "+0.20 in nats-server", ""]

    tally.add("p99", "ms", "nchan", 1.0, {})
    assert [row.what for row in tally.rows()] == ["p99: nchan"]


def test_another_server_is_first_in_each_round_and_one_without_the_transport_has_none() -> None:
    doors = {"a": TRANSPORTS, "b": ["sse"], "c": TRANSPORTS}
    servers = [Contestant(name, 1, 1, dict.fromkeys(has, Door("/", "")), None) for name, has in doors.items()]
    comparison = PeerComparison(servers, cast(Partner, None), cast(Partner, None), 1.0)

    def named(transport: str, round_: int) -> str:
        return "".join(server.name for server in comparison._on(transport, round_))

    assert [named("sse", round_) for round_ in range(4)] == ["abc", "bca", "cab", "abc"]
    assert [named("websocket", round_) for round_ in range(2)] == ["ac", "ca"]


def test_the_table_has_a_column_for_each_server() -> None:
    tally = ComparisonTally(["Callboard", "nchan"])
    tally.add("CPU an event", "ms", "Callboard", 0.5, {}, broker=0.1)
    tally.add("CPU an event", "ms", "nchan", 0.1, {})
    tally.add("memory", "kB", "nchan", 10.0, {})

    assert matrix(tally.rows()).splitlines() == [
        "| | Callboard | nchan |",
        "|---|---|---|",
        "| CPU an event, ms | 0.50 (+0.10 in nats-server) | 0.10 |",
        "| memory, kB | – | 10.0 |",
    ]
    assert matrix([]) == ""


@contextlib.asynccontextmanager
async def _started(name: str) -> AsyncIterator[Contestant]:
    if name == "callboard":
        made = _callboard()
    elif name == "starlette":
        made = _starlette()
    elif name == "nchan":
        where = nchan.found(Plan())
        if isinstance(where, str):
            pytest.skip(where)
        made = _nchan(*where)
    elif name == "mercure":
        hub = mercure.found()
        if isinstance(hub, str):
            pytest.skip(hub)
        made = _mercure(hub)
    else:
        program = await centrifugo.found(install=False)
        if isinstance(program, str):
            pytest.skip(program)
        made = _centrifugo(program)
    async with made as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("name", ["callboard", "centrifugo", "mercure", "nchan", "starlette"])
async def test_every_reader_gets_every_event_that_is_published_over_http(name: str, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    async with (
        _started(name) as server,
        partner("audience", str(progress)) as audience,
        partner("publisher", str(progress)) as publisher,
    ):
        comparison = PeerComparison([server], audience, publisher, seconds=0.1)
        for transport in server.doors:
            await comparison.open(server, transport, "readers", 7)
            # Faults where a reader has not got each of them.
            heard = await comparison.publish(server, transport, 5, 1, 100.0, stamps=True)
            await comparison.publish(server, transport, 2, BURST, 100.0)
            assert heard["p99"] > 0 and heard["samples"] >= 5
            group = f"{server.name}/{transport}/readers"
            with pytest.raises(BenchError, match=f"{2 * BURST} of {2 * BURST + 1} events"):
                await audience.ask("collect", group=group, events=2 * BURST + 1, seconds=0.1)
            await comparison.close(server, transport, "readers")


@pytest.mark.slow
async def test_connections_with_a_token_are_opened_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versus, "FIRST", 2)
    monkeypatch.setattr(versus, "OPENED", 3)
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(8))
    async with (
        _with_tokens() as server,
        partner("audience", str(progress)) as audience,
        partner("publisher", str(progress)) as publisher,
    ):
        comparison = PeerComparison([server], audience, publisher, seconds=0.1)
        for transport in TRANSPORTS:
            await comparison.connect(transport)
        await comparison.disconnect()
        # Of this one nothing is published.
        await comparison.deliver("sse", 2)

        door = server.doors["sse"]
        with pytest.raises(BenchError, match="the audience ended"):
            where = {"port": server.port, "path": door.path, "transport": "sse", "count": 1}
            await audience.ask("open", group="without", **where)

    assert [row.what for row in comparison.tally.rows()] == [
        f"{title} of an idle {kind} connection: Callboard, tokens"
        if title == "memory"
        else f"CPU to open a {kind} connection: Callboard, tokens"
        for kind in ("WebSocket", "SSE")
        for title in ("CPU", "memory")
    ]
