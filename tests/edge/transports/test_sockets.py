"""The kernel is made to hold little, and says how much a client has not read."""

from __future__ import annotations

import asyncio
import socket

from edge.transports.sockets import NOTSENT_BYTES, UnreadGauge, hold_little, limit_send_buffer
from tests.waiting import eventually


async def test_a_transport_holds_little_and_knows_what_is_unread() -> None:
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _r, writer: accepted.set_result(writer), "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    writer = await accepted
    transport, gauge = writer.transport, UnreadGauge()
    try:
        hold_little(transport)
        limit_send_buffer(transport, 100_000)
        own = transport.get_extra_info("socket")
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOTSENT_BYTES
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 200_000
        gauge.read(transport)
        transport.write(bytes(8_000_000))
        await eventually(lambda: gauge.read(transport) >= 30_000)
        transport.abort()
        assert gauge.read(transport) == 0
    finally:
        client.close()
        server.close()
