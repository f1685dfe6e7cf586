"""A proxy that makes the network before a server bad: slow, narrow, silent, or cut in the middle of a byte stream.

The proxy knows nothing of what it carries, so it stands before NATS as well as before the edge:

    async with Proxy(server_port, cut=lambda: Cut(rng.randrange(1, 9000))) as proxy:
        ...  # talk to proxy.port; each connection breaks after that many bytes towards the client
        proxy.cut = None
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ops.process.http import send

CHUNK = 64 * 1024
# A narrow wire lets its bytes through in slices of this many seconds' worth.
SLICE = 0.02


@dataclass(frozen=True)
class Cut:
    """How a connection is to break: after so many bytes towards the client, by a reset or by a plain end of stream."""

    after: int
    reset: bool = True


class Link:
    """One connection through the proxy: the client's side, the server's side, and how many bytes have gone to the client."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, cut: Cut | None) -> None:
        self.client = client
        self.server = server
        self.cut = cut
        self.carried = 0
        self.flowing = asyncio.Event()
        self.flowing.set()

    def sever(self, reset: bool = True) -> None:
        """Breaks both sides off: by a reset, or by an end that looks like a regular one."""
        for writer in (self.client, self.server):
            if reset:
                _abort(writer)
            else:
                writer.close()


class Proxy:
    """A TCP relay before a server. Every knob may be turned while connections are open."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        cut: Callable[[], Cut | None] | None = None,
        latency: float = 0.0,
        bandwidth: float | None = None,
        whole: bytes = b"",
    ) -> None:
        self._target = (host, port)
        # Asked once per connection; None is for a connection that stays whole.
        self.cut = cut
        # Seconds that bytes are on their way in each direction; those that come meanwhile wait for the next turn.
        self.latency = latency
        # No cut comes between these bytes where they follow each other.
        self.whole = whole
        # Bytes a second, in each direction of each connection.
        self.bandwidth = bandwidth
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self.links: set[Link] = set()
        self._refusing = False
        self._open = asyncio.Event()
        self._open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._refusing = True
        self.flow()
        while self.links:
            self.sever()
            await asyncio.sleep(0)
        await self._server.wait_closed()

    def sever(self, reset: bool = True) -> None:
        """Breaks every open connection; new ones are taken."""
        for link in self.links:
            link.sever(reset)

    def refuse(self) -> None:
        """Breaks every connection and resets new ones, as a server that was killed, until `accept`."""
        self._refusing = True
        self.sever()

    def accept(self) -> None:
        """Takes connections again."""
        self._refusing = False

    def blackhole(self) -> None:
        """Lets no byte through and closes nothing, as a pulled cable, until `flow`."""
        self._open.clear()

    def freeze(self) -> None:
        """Lets no byte through any more on the connections of now and closes none of them, as a NAT that forgot them; new ones flow."""
        for link in self.links:
            link.flowing.clear()

    def flow(self) -> None:
        """Lets bytes through again."""
        self._open.set()
        for link in self.links:
            link.flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            far, server = await asyncio.open_connection(*self._target)
        except OSError:
            _abort(client)
            return
        link = Link(client, server, self.cut() if self.cut else None)
        if self._refusing:
            link.sever()
            return
        self.connections += 1
        self.links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(link, reader, server))
                group.create_task(self._carry(link, far, client))
        finally:
            self.links.discard(link)
            link.sever(reset=False)

    async def _carry(self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Takes bytes from one side to the other; an end is passed on as an end, a loss as a reset."""
        try:
            while said := await source.read(CHUNK):
                if self.latency:
                    await asyncio.sleep(self.latency)
                for piece in self._pieces(said):
                    if self.bandwidth:
                        await asyncio.sleep(len(piece) / self.bandwidth)
                    await self._passing(link)
                    if sink is link.client:
                        if link.cut and link.carried + len(piece) >= link.cut.after:
                            at = link.cut.after - link.carried
                            if self.whole and (
                                begun := piece.find(self.whole, max(0, at + 1 - len(self.whole)))
                            ) in range(at):
                                at = begun + len(self.whole)
                            await _write(sink, piece[:at])
                            self.cuts += 1
                            link.sever(link.cut.reset)
                            return
                        link.carried += len(piece)
                    await _write(sink, piece)
            await self._passing(link)
            if not sink.is_closing():
                sink.write_eof()
        except OSError:
            link.sever()

    async def _passing(self, link: Link) -> None:
        await self._open.wait()
        await link.flowing.wait()

    def _pieces(self, said: bytes) -> Iterator[bytes]:
        size = max(1, int(self.bandwidth * SLICE)) if self.bandwidth else CHUNK
        for at in range(0, len(said), size):
            yield said[at : at + size]


async def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    send(writer, piece)
    await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes by a reset: a linger of zero seconds makes the kernel send RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
