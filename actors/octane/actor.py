"""Keeps a connection to one Octane, publishes what it reports, and passes commands on to it."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actors.octane.allocation import keep_freed_buffers
from actors.octane.client import ClientSettings, OctaneClient
from actors.octane.commands import OctaneCommands
from actors.octane.condition import ConditionLimits, OctaneStatus
from actors.octane.errors import CallUnanswered, Disconnected, TooOld
from actors.octane.observations import VERSION, ConnectFailed, OctaneIdentified, ServiceRefused
from actors.octane.pictures import PictureSettings
from actors.octane.render_run import RenderSettings
from actors.octane.render_store import NatsRenderStore, RenderStore
from actors.octane.renders import OctaneRenders
from actors.octane.standing import OctaneStanding
from actors.octane.tonemap import OctaneTonemap
from actors.octane.waiting import within
from actors.octane.watch import OctaneWatch
from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.runtime import BrokerRuntime
from router.subject import Subject
from router.tasks import run_cancellable

logger = logging.getLogger(__name__)

# 2 s: an actor that stops stores its last pictures, and does not wait for a NATS that is away.
STORE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class OctaneSettings:
    """Which Octane is watched, and how its pictures are made."""

    # Not `localhost`: that may mean ::1, where an Octane does not listen.
    address: str = "127.0.0.1:51022"
    quality: int = 85
    max_fps: float = 30.0
    idle_fps: float = 0.5
    # The longest wait between two attempts to connect; an Octane that is back is seen, with its picture, in 3 s.
    reconnect: float = 2.0
    render: RenderSettings = field(default_factory=RenderSettings)

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and len(port) < 6) or not 0 < int(port) < 65536:
            raise ValueError("address must be host:port, as in 127.0.0.1:51022")
        if not 1 <= self.quality <= 95:
            raise ValueError("quality must be 1 to 95")
        for name in ("max_fps", "idle_fps", "reconnect"):
            if not 0 < getattr(self, name) <= 1000:
                raise ValueError(f"{name} must be more than 0, and at most 1000")


class Octane(Actor):
    """Shows what an Octane renders: pictures on FRAMES; state, statistics and failures on EVENTS."""

    name = "octane"
    watched = True
    subjects = ()
    # Silence timeout of the source below. Its heartbeat are the statistics, every 2 s at most; a call may take 10 s.
    silence = 30.0

    def __init__(
        self,
        settings: OctaneSettings = OctaneSettings(),
        client_settings: ClientSettings | None = None,
        store: RenderStore | None = None,
    ) -> None:
        """`store` is where runs of renders are kept: NATS where none is given, and the actor runs on that."""
        self._store = store
        self._renders: OctaneRenders | None = None
        self._settings, self._client_settings = settings, client_settings or ClientSettings()
        self._numbers = itertools.count(1)
        self._tonemap = OctaneTonemap()
        self._client: OctaneClient | None = None
        self._watch: OctaneWatch | None = None
        self._commands = OctaneCommands(settings.address)

    async def start(self, ctx: Context) -> None:
        """Begins to watch."""
        keep_freed_buffers()
        await self._commands.begin(ctx)
        # Idle pictures come as seldom as is set, and are not stale for it.
        limits = ConditionLimits()
        limits = replace(limits, stale=max(limits.stale, 1.5 / self._settings.idle_fps))
        self._standing = OctaneStanding(self._settings.address, ctx, limits, self._admit)
        await self._standing.recall()
        store = self._store or _store_of(ctx)
        if store is not None:
            stop = self._commands.by_name()["stop"]
            self._renders = OctaneRenders(ctx, self._settings.render, store, self._rendered_by, stop, self._look)
            self._renders.begin()
        ctx.source("octane", functools.partial(self._keep_watching, ctx), silence=self.silence)

    async def stop(self, ctx: Context) -> None:
        """Publishes that the Octane is not watched any more. The run of its render stays open: the next incarnation goes on with it."""
        if self._renders is not None:
            await within(STORE_SECONDS, self._renders.pictures.store())
        if self._standing.condition.status is not OctaneStatus.ABSENT:
            self._standing.observe(ConnectFailed("the octane actor was stopped"))
        if (state := self._standing.untold()) is not None:
            ctx.emit(Subject.of("octane", ctx.instance, "state"), state, key=ctx.instance)

    def commands(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Those of the Octane; `start` and `stop` among them are the render's, not the actor's own."""
        return self._commands.by_name()

    def _admit(self) -> None:
        """Lets commands through or not: at once, not after a time of waiting for an Octane that is busy."""
        condition, link = self._standing.condition, self._commands.link
        if condition.status is OctaneStatus.BUSY:
            link.obstacle = f"it is busy: {condition.reason}"
        else:
            link.obstacle = condition.reason if condition.absence or link.client is None else ""
        if self._renders is not None and condition.status in (OctaneStatus.ABSENT, OctaneStatus.REFUSED):
            self._renders.lost(condition.reason)

    def _look(self) -> None:
        if self._watch is not None:
            self._watch.look()

    def _rendered_by(self) -> dict[str, Any]:
        """What a picture that is kept says of its Octane."""
        identity = self._standing.identity
        name = f"{identity.name} {identity.version}".strip() if identity is not None else "Octane"
        return {"rendered_by": name, "simulated": identity is not None and identity.simulated}

    async def _keep_watching(self, ctx: Context, beat: Callable[[], None]) -> None:
        await run_cancellable(
            self._keep_connected(ctx, beat),
            name=f"connect to {self._settings.address}",
            companion=self._standing.run(beat, lambda: self._client),
        )

    async def _keep_connected(self, ctx: Context, beat: Callable[[], None]) -> None:
        """Connects, watches until the Octane is gone, and connects again."""
        attempt = 0
        while True:
            beat()
            connected = ctx.now()
            try:
                await run_cancellable(self._watch_once(ctx, beat), name=f"watch {self._settings.address}")
            except Disconnected as fault:
                self._standing.observe(ConnectFailed(str(fault)))
            except TooOld as fault:
                self._standing.observe(ServiceRefused(VERSION, str(fault)))
            except CallUnanswered as fault:
                logger.info("Octane does not answer; connecting again", extra={"reason": str(fault)})
            finally:
                self._commands.gone()
                self._client = self._watch = None
            # One that closes the connection at once each time is not tried four times a second.
            attempt = 0 if ctx.now() - connected > 10 else attempt + 1
            await ctx.sleep(min(self._settings.reconnect, 0.25 * 2 ** min(attempt, 8)) * random.uniform(0.5, 1))

    async def _watch_once(self, ctx: Context, beat: Callable[[], None]) -> None:
        settings, standing = self._settings, self._standing
        async with OctaneClient(settings.address, self._client_settings, ctx.offload, standing.observe) as client:
            self._client = client
            standing.identity = await client.identify()
            beat()
            standing.observe(OctaneIdentified())
            watching = PictureSettings(quality=settings.quality, max_fps=settings.max_fps, idle_fps=settings.idle_fps)
            watch = OctaneWatch(
                client,
                standing.identity,
                watching,
                ctx,
                beat,
                self._numbers,
                standing,
                self._tonemap,
                self._commands.project_changed,
                self._renders,
            )
            watch.share(self._commands.link.pinned)
            self._watch = watch
            self._commands.connected(client, watch.look)
            self._admit()
            try:
                await watch.run()
            except asyncio.CancelledError:
                await watch.leave()
                raise


def _store_of(ctx: Context) -> RenderStore | None:
    """Finds the store of a runtime on NATS; there is none under a Probe."""
    runtime = ctx._runtime
    return NatsRenderStore(runtime.broker) if isinstance(runtime, BrokerRuntime) else None
