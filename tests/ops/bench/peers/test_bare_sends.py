"""The bound of the fan-out benchmark sends each client its bursts, and tells the CPU time that it took."""

from __future__ import annotations

from ops.bench.peers import bare_sends
from ops.bench.peers.bare_sends import EVENTS, HEAD
from tests.ops.bench.peers.peer import get, peer


async def test_each_client_gets_the_bursts_of_its_transport_and_no_others() -> None:
    async with peer(bare_sends) as running:
        port = int((await running.line()).removeprefix("port "))
        clients = {"sse": await get(port, "/sse "), "websocket": await get(port, "/ws")}
        # A client is listed once the next one is let in.
        last = await get(port, "/ws")
        for client in (*clients.values(), last):
            await client.until(HEAD)

        spent = [float(await running.ask(order)) for order in ("say sse 2 3", "say websocket 1 4", "cpu")]

        assert await clients["sse"].exactly(6 * len(EVENTS["sse"])) == EVENTS["sse"] * 6
        assert await clients["websocket"].exactly(4 * len(EVENTS["websocket"])) == EVENTS["websocket"] * 4
        assert 0 < spent[0] <= spent[1] <= spent[2]
        for client in (*clients.values(), last):
            client.close()
