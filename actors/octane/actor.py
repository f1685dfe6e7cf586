"""Keeps a connection to one Octane, publishes what it reports, and passes commands on to it."""

from __future__ import annotations

import functools
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.octane.announcing import tell
from actors.octane.client import ClientSettings, Identity, OctaneClient
from actors.octane.commands import OctaneCommands
from actors.octane.errors import Disconnected
from actors.octane.pictures import PictureSettings
from actors.octane.watch import OctaneWatch
from actors.system.actor import Actor
from actors.system.context import Context
from router.subject import Subject
from router.tasks import run_cancellable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OctaneSettings:
    """Which Octane is watched, and how its pictures are made."""

    # Not `localhost`: that may mean ::1, where an Octane does not listen.
    address: str = "127.0.0.1:51022"
    quality: int = 85
    max_fps: float = 30.0
    idle_fps: float = 0.5
    # The longest wait between two attempts to connect; an Octane that is back is seen this soon.
    reconnect: float = 3.0

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("address must be host:port, as in 127.0.0.1:51022")
        if not 1 <= self.quality <= 95:
            raise ValueError("quality must be 1 to 95")
        for name in ("max_fps", "idle_fps", "reconnect"):
            if not 0 < getattr(self, name) <= 1000:
                raise ValueError(f"{name} must be more than 0, and at most 1000")


class Octane(Actor):
    """Shows what an Octane renders: pictures on FRAMES; state, statistics and failures on EVENTS."""

    name = "octane"
    subjects = ()
    # Silence timeout of the source below. Its heartbeat are the statistics, every 2 s at most; a call may take 10 s.
    silence = 30.0

    def __init__(
        self, settings: OctaneSettings = OctaneSettings(), client_settings: ClientSettings | None = None
    ) -> None:
        self._settings, self._client_settings = settings, client_settings or ClientSettings()
        self._numbers = itertools.count(1)
        self._client: OctaneClient | None = None
        self._watch: OctaneWatch | None = None
        self._identity: Identity | None = None
        self._status = ""
        self._commands = OctaneCommands(settings.address)

    async def start(self, ctx: Context) -> None:
        """Begins to watch."""
        await self._commands.begin(ctx)
        ctx.source("octane", functools.partial(self._keep_watching, ctx), silence=self.silence)

    async def stop(self, ctx: Context) -> None:
        """Publishes that the Octane is not watched any more."""
        if self._status == "connected":
            state = self._state("disconnected", "the actor was stopped")
            ctx.emit(Subject.of("octane", ctx.instance, "state"), state, key=ctx.instance)

    def commands(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Those of the Octane; `start` and `stop` among them are the render's, not the actor's own."""
        return self._commands.by_name()

    async def _keep_watching(self, ctx: Context, beat: Callable[[], None]) -> None:
        """Connects, watches until the Octane is gone, and connects again."""
        attempt = 0
        while True:
            beat()
            connected = ctx.now()
            try:
                await run_cancellable(self._watch_once(ctx, beat), name=f"watch {self._settings.address}")
            except Disconnected as fault:
                if self._status != "disconnected":
                    await self._say(ctx, beat, "disconnected", reason=str(fault))
                self._commands.gone(str(fault))
            finally:
                self._commands.gone()
                self._client = self._watch = None
            # One that closes the connection at once each time is not tried four times a second.
            attempt = 0 if ctx.now() - connected > 10 else attempt + 1
            await ctx.sleep(min(self._settings.reconnect, 0.25 * 2 ** min(attempt, 8)) * random.uniform(0.5, 1))

    async def _watch_once(self, ctx: Context, beat: Callable[[], None]) -> None:
        settings = self._settings
        async with OctaneClient(settings.address, self._client_settings, ctx.offload) as client:
            self._identity = await client.identify()
            beat()
            await self._say(ctx, beat, "connected")
            watching = PictureSettings(quality=settings.quality, max_fps=settings.max_fps, idle_fps=settings.idle_fps)
            self._client = client
            self._watch = OctaneWatch(
                client, self._identity, watching, ctx, beat, self._numbers, self._commands.project_changed
            )
            self._commands.connected(client, self._watch.look)
            await self._watch.run()

    async def _say(self, ctx: Context, beat: Callable[[], None], status: str, reason: str | None = None) -> None:
        """Publishes whether there is an Octane, and which."""
        state = self._state(status, reason)
        logger.info("Octane connection state changed", extra={"octane": ctx.instance, "state": state})
        await tell(ctx, beat, "state", state, key=ctx.instance)
        self._status = status

    def _state(self, status: str, reason: str | None) -> dict[str, Any]:
        identity = self._identity
        state = {
            "status": status,
            "address": self._settings.address,
            "name": identity.name if identity else "",
            "version": identity.version if identity else "",
            "simulated": identity.simulated if identity else False,
        }
        return state if reason is None else state | {"reason": reason}
