"""Watches a connected Octane: receives its events, fetches its pictures and statistics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import asdict

from actors.octane.announcing import tell
from actors.octane.callbacks import CallbackKind, CallbackNotice, CallbackRegistration, CallbackStream
from actors.octane.client import Identity, OctaneClient
from actors.octane.errors import Disconnected
from actors.octane.observations import ImageNotified, Observation, Sampled, StreamEnded
from actors.octane.pass_switch import PinnedPasses
from actors.octane.pictures import OctanePictures, PictureSettings
from actors.octane.renders import OctaneRenders
from actors.octane.standing import OctaneStanding
from actors.octane.statistics import OctaneStatistics, StatisticsSettings
from actors.octane.tonemap import OctaneTonemap
from actors.system.context import Context


class OctaneWatch:
    """One connection to an Octane, from the registration of callbacks to its end."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        pictures: PictureSettings,
        ctx: Context,
        beat: Callable[[], None],
        numbers: Iterator[int],
        standing: OctaneStanding,
        tonemap: OctaneTonemap,
        project_changed: Callable[[], None] = lambda: None,
        renders: OctaneRenders | None = None,
    ) -> None:
        self._client, self._identity, self._ctx, self._beat = client, identity, ctx, beat
        self._project_changed = project_changed
        self._standing = standing
        self._registration = CallbackRegistration(client, self._observe)
        self._stream = CallbackStream(client, self._observe, ctx.sleep)
        self._tonemap = tonemap
        self._pictures = OctanePictures(client, identity, pictures, ctx, numbers, self._observe, self.watched)
        self._renders = renders
        if renders is not None:
            self._pictures.on_picture = renders.pictures.saw
        self._statistics = OctaneStatistics(
            client,
            identity,
            StatisticsSettings(),
            ctx,
            beat,
            on_report=renders.saw if renders is not None else None,
            observe=self._observe,
            on_read=self._pictures.saw,
        )
        self._registering = asyncio.Lock()
        self._watched = False
        self._suspected = asyncio.Event()  # a render failure: the devices should be asked
        self._failed = False  # Octane said so

    async def run(self) -> None:
        """Watches until the Octane is gone. Raises Disconnected."""
        await self._tonemap.begin(self._client)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._pictures.run())
                tasks.create_task(self._statistics.run())
                tasks.create_task(self._keep_slot())
                tasks.create_task(self._tell_failures())
        except BaseExceptionGroup as faults:
            gone, other = faults.split(Disconnected)
            if gone is None or other is not None:
                raise
            raise Disconnected(str(_first(gone))) from None

    def share(self, pinned: PinnedPasses) -> None:
        """Keeps the passes on that commands choose."""
        self._pictures.passes.share(pinned)

    async def leave(self) -> None:
        """Gives back what this Callboard has registered and set."""
        await self._registration.leave()
        # 1 s: the Octane may be gone already.
        with contextlib.suppress(Disconnected, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._pictures.passes.restore()
                await self._tonemap.restore(self._client)

    def look(self) -> None:
        """Asks for statistics and a picture now: something was changed."""
        self._pictures.announce()
        self._statistics.ask()

    def _observe(self, observation: Observation) -> None:
        """Takes down what was seen of this connection, and does what follows from it."""
        before = self._standing.condition
        self._standing.observe(observation)
        match observation:
            case StreamEnded(taken=True):
                self._registration.lost()
            case Sampled(progress=progress, rendering=rendering):
                last = before.sampled
                if rendering:
                    self._standing.failure = None
                elif observation.ended(last):
                    # It ended. Where somebody else holds the slot, nobody says that it failed.
                    self._suspected.set()
                if last is not None and (
                    progress.change_level < last.progress.change_level or progress.wipes < last.progress.wipes
                ):
                    self._pictures.forget()
                if self._standing.condition.wants_grab(self._ctx.now()):
                    # At the beat of the statistics, which is quick as long as there is something to fetch.
                    self.look()

    async def _listen(self) -> None:
        async with aclosing(self._stream.notices()) as notices:
            async for notice in notices:
                self._beat()
                self._registration.told(notice)
                await self._take(notice)

    async def _take(self, notice: CallbackNotice) -> None:
        match notice.kind:
            case CallbackKind.NEW_IMAGE:
                self._observe(ImageNotified())
                self._pictures.announce(notice.images)
                self._statistics.ask()
            case CallbackKind.OPENED:
                await self._register()
                # What failed before the callbacks were registered was told to nobody.
                self._suspected.set()
                self.look()
            case CallbackKind.NEW_STATISTICS:
                self._statistics.ask()
            case CallbackKind.RENDER_FAILURE:
                self._failed = True
                self._suspected.set()
            case CallbackKind.PROJECT_CHANGED:
                self._project_changed()
                await tell(self._ctx, self._beat, "project_changed", {"project": await self._client.current_project()})
                self._statistics.project_changed()
                self._pictures.forget()
                self.look()

    async def watched(self, some: bool) -> None:
        """Takes note of whether anybody watches: images that come along are received only then."""
        self._watched = some
        if self._identity.embeds:
            await self._register()

    async def _register(self) -> None:
        async with self._registering:
            wanted = self._watched and self._standing.condition.takes_embedded
            if await self._registration.ask(images=wanted or not self._identity.embeds):
                self._stream.registered()

    async def _keep_slot(self) -> None:
        """Registers again where somebody else has taken the slot, or images have become too large to come along."""
        embedded, absent = True, False
        while True:
            await self._ctx.sleep(0.25)
            condition = self._standing.condition
            back = absent and not condition.absence  # the network was away, and the connection outlived that
            if back or condition.wants_slot(self._ctx.now()) or condition.takes_embedded is not embedded:
                await self._register()
            embedded, absent = condition.takes_embedded, bool(condition.absence)

    async def _tell_failures(self) -> None:
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            await self._tell_failure()

    async def _tell_failure(self) -> None:
        """Publishes why the render failed, once; the event itself does not say, the devices do."""
        # What is told while the devices are asked is asked for once more: they may have been read before they failed.
        told, self._failed = self._failed, False
        faults = await self._client.device_faults()
        reason = "; ".join(f"{fault.name}: {fault.message or fault.error}" for fault in faults)
        reason = reason or ("octane gave no reason" if told and not self._failed else "")
        if reason in ("", self._standing.failure):
            return
        self._standing.failure = reason
        self._statistics.failed()
        if self._renders is not None:
            self._renders.failed(reason)
        await tell(
            self._ctx,
            self._beat,
            "render_failure",
            {
                "reason": reason,
                "devices": [asdict(fault) for fault in faults],
                "simulated": self._identity.simulated,
            },
        )
        self._statistics.ask()


def _first(group: BaseExceptionGroup[Disconnected]) -> BaseException:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
