"""What a run has published; runs over NATS and over HTTP, with and without asyncio; and the network between, to be broken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.broker import Broker
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.sdk import Run, RunSettings, SyncRun
from router.sdk.connect import sender_to
from router.sdk.flush import Flushed, flush
from tests.proxy import Proxy


async def events_of(broker: Broker, run: str, domain: str = "agent") -> list[Event]:
    """All events of a run, in the order they were stored."""
    found: list[Event] = []
    after, more = 0, True
    while more:
        page = await broker.read(f"{domain}.{run}.>", after, 1000)
        found += [record.event for record in page.records if record.event and record.event.type != "state"]
        after, more = page.records[-1].sequence if page.records else after, page.more
    return found


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


@contextlib.asynccontextmanager
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that a test may stop and start."""
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path / "nats", port=free_port()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Program:
    """A run as a program uses it, with asyncio or without; what it says is called alike."""

    def __init__(self, run: Run | SyncRun) -> None:
        self.run = run

    async def __aenter__(self) -> Program:
        if isinstance(self.run, Run):
            await self.run.__aenter__()
        else:
            await asyncio.to_thread(self.run.__enter__)
        return self

    async def __aexit__(self, *fault: Any) -> None:
        if isinstance(self.run, Run):
            await self.run.__aexit__(*fault)
        else:
            await asyncio.to_thread(self.run.__exit__, *fault)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.run, name)
        if isinstance(self.run, Run):
            return method
        return lambda *args, **more: asyncio.to_thread(method, *args, **more)

    @property
    def waiting(self) -> int:
        return self.run.report.unsent


@dataclass
class Way:
    """The way from a run to the stream: over NATS or HTTP, through a proxy that a test may break."""

    url: str
    proxy: Proxy
    asyncio: bool
    broker: Broker
    folder: Path

    def settings(self, **more: Any) -> RunSettings:
        return RunSettings(**{"spool_dir": self.folder, "drain": 60.0, "spool_after": 0.2, **more})

    def program(self, run: str, settings: RunSettings | None = None, **more: Any) -> Program:
        """A run of this way's kind."""
        options = {"url": self.url, "settings": settings or self.settings(), **more}
        return Program(Run(run, **options) if self.asyncio else SyncRun(run, **options))

    async def flush(self, run: str | None = None, patience: float = 60.0) -> list[Flushed]:
        """Delivers what was left behind."""
        way = flush(
            self.folder, lambda header: sender_to(self.url, header.life, 10.0, None), run=run, patience=patience
        )
        return [told async for told in way]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
