"""Watches a connected Octane: receives its events, fetches its pictures and statistics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import Counter, Histogram

from actors.octane.client import CallbackKind, Identity, OctaneClient, enum_name
from actors.octane.errors import Declined, Disconnected, Unreadable
from actors.octane.pixels import decode, to_jpeg
from actors.system.context import Context
from protos import octane_types_pb2 as wire
from router.errors import BrokerError, Refused
from router.event import new_id
from router.subject import Subject

logger = logging.getLogger(__name__)

PICTURES = Counter("actors_octane_pictures", "Pictures that came from Octane, by what became of them.", ["outcome"])
ENCODE_SECONDS = Histogram("actors_octane_encode_seconds", "Time from a picture's raw bytes to its JPEG.")

# 32: one track a render pass, and the ids come from outside; nobody looks at more.
MAX_TRACKS = 32

_STATES = {
    wire.RSTATE_STOPPED: "stopped",
    wire.RSTATE_WAITING_FOR_DATA: "waiting",
    wire.RSTATE_RENDERING: "rendering",
    wire.RSTATE_PAUSED: "paused",
    wire.RSTATE_FINISHED: "finished",
}


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How often an Octane is looked at. Rates per second, times in seconds."""

    quality: int = 85
    max_fps: float = 30.0
    # Pictures without viewers: enough that a new viewer sees something at once.
    idle_fps: float = 0.5
    # FRAMES forgets a picture soon, so one that still holds is sent again.
    refresh: float = 2.0
    statistics_interval: float = 0.25
    # Statistics without a new picture: they are the heartbeat of the connection, and show a pause.
    statistics_idle: float = 2.0


class OctaneWatch:
    """One connection to an Octane, from the registration of callbacks to its end."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        settings: WatchSettings,
        ctx: Context,
        beat: Callable[[], None],
        numbers: Iterator[int],
    ) -> None:
        self._client, self._identity, self._settings, self._ctx = client, identity, settings, ctx
        self._beat, self._numbers = beat, numbers
        self._viewers = ctx.viewers("octane", ctx.instance)
        # A set flag stands for any number of notifications: what is fetched is always the newest.
        self._picture_waits, self._statistics_wait = asyncio.Event(), asyncio.Event()
        self._embedded: Sequence[wire.ApiRenderImage] = ()
        self._shown: dict[str, tuple[object, ...]] = {}
        self._latest: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._complaint = ""

    async def run(self) -> None:
        """Watches until the Octane is gone. Raises Disconnected."""
        await self._client.tone_map()
        await self._client.register()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._fetch_pictures())
                tasks.create_task(self._ask_statistics())
        except BaseExceptionGroup as faults:
            gone, other = faults.split(Disconnected)
            if gone is None or other is not None:
                raise
            raise Disconnected(str(_first(gone))) from None

    def look(self) -> None:
        """Asks for statistics and a picture now: something was changed."""
        self._picture_waits.set()
        self._statistics_wait.set()

    async def _listen(self) -> None:
        async with aclosing(self._client.signals()) as signals:
            async for signal in signals:
                self._beat()
                match signal.kind:
                    case CallbackKind.NEW_IMAGE:
                        self._embedded = signal.images
                        self.look()
                    case CallbackKind.OPENED:
                        self.look()
                    case CallbackKind.NEW_STATISTICS:
                        self._statistics_wait.set()
                    case CallbackKind.RENDER_FAILURE:
                        await self._tell_failure()
                    case CallbackKind.PROJECT_CHANGED:
                        await tell(
                            self._ctx, self._beat, "project_changed", {"project": await self._client.current_project()}
                        )
                        self.look()

    async def _tell_failure(self) -> None:
        """Publishes why the render failed; the event itself does not say, the devices do."""
        faults = await self._client.device_faults()
        reason = "; ".join(f"{fault.name}: {fault.message or fault.error}" for fault in faults)
        await tell(
            self._ctx,
            self._beat,
            "render_failure",
            {
                "reason": reason or "octane gave no reason",
                "devices": [asdict(fault) for fault in faults],
                "simulated": self._identity.simulated,
            },
        )
        self._statistics_wait.set()

    async def _fetch_pictures(self) -> None:
        """Shows one picture after the other; what is announced meanwhile is one announcement."""
        while True:
            await self._next_picture()
            if not self._picture_waits.is_set():
                self._show_again()
                continue
            self._picture_waits.clear()
            images, self._embedded = self._embedded, ()
            try:
                for image in (images or await self._client.grab())[:MAX_TRACKS]:
                    await self._show(image)
            except (Declined, Unreadable) as fault:
                PICTURES.labels("unreadable").inc()
                self._complain(str(fault))
                # Most often a picture over 64 MiB, and the next one will be, too.
                await self._ctx.sleep(1.0)

    async def _next_picture(self) -> None:
        """Waits until a picture may be fetched, or the last one has to be sent again."""
        if not self._viewers.count and self._latest:
            await _within(1 / self._settings.idle_fps, self._viewers.wait_for_some())
            return
        await self._ctx.sleep(1 / self._settings.max_fps)
        await _within(self._settings.refresh, self._picture_waits.wait())

    async def _show(self, image: wire.ApiRenderImage) -> None:
        """Sends one picture to FRAMES, unless it is the one sent last."""
        track = track_name(image.renderPassId)
        samples = image.tonemappedSamplesPerPixel or image.calculatedSamplesPerPixel
        # Events may come twice, and for one image; some servers leave these numbers out, and then each is new.
        stamp = (image.changeLevel.value, samples, image.size.x, image.size.y)
        if samples and self._shown.get(track) == stamp:
            PICTURES.labels("same").inc()
            return
        if track not in self._latest and len(self._latest) >= MAX_TRACKS:
            return
        started = self._ctx.now()
        width, height, short, jpeg = await self._ctx.offload(develop, image, self._settings.quality)
        ENCODE_SECONDS.observe(self._ctx.now() - started)
        if short:
            self._complain("octane sent a picture with rows missing")
        header = {
            "seq": next(self._numbers),
            "time": time.time() * 1000,
            "width": width,
            "height": height,
            "format": "jpeg",
            "source": "simulated" if self._identity.simulated else "octane",
            "simulated": self._identity.simulated,
            "track": track,
            "samples": round(samples),
            "max_samples": round(image.maxSamplesPerPixel),
            "render_time": round(image.renderTime, 3),
            "change_level": image.changeLevel.value,
            "short": short,
        }
        self._shown[track], self._latest[track] = stamp, (header, jpeg)
        self._ctx.frame("octane", self._ctx.instance, header, jpeg, track=track)
        PICTURES.labels("short" if short else "sent").inc()

    def _show_again(self) -> None:
        """Sends what was sent last, unchanged: number and time say that it is the same picture."""
        for track, (header, jpeg) in self._latest.items():
            self._ctx.frame("octane", self._ctx.instance, header, jpeg, track=track)

    async def _ask_statistics(self) -> None:
        """Publishes statistics after new pictures and now and then, as long as they change."""
        last: dict[str, Any] = {}
        while True:
            await _within(self._settings.statistics_idle, self._statistics_wait.wait())
            self._statistics_wait.clear()
            try:
                report = describe(await self._client.statistics()) | {"simulated": self._identity.simulated}
            except Declined as fault:
                self._complain(str(fault))
                report = last
            self._beat()
            if report != last:
                try:
                    await publish(self._ctx, "statistics", report, key=self._ctx.instance)
                    last = report
                except BrokerError as fault:
                    # The next ones are newer, and take their place.
                    self._complain(str(fault))
            await self._ctx.sleep(self._settings.statistics_interval)

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not once a picture."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning(
                "Octane's pictures or statistics cannot be shown",
                extra={"reason": reason, "octane": self._ctx.instance},
            )


async def publish(ctx: Context, kind: str, data: dict[str, Any], key: str | None = None, id: str | None = None) -> None:
    """Publishes one event of this Octane. Raises BrokerError."""
    await ctx.publish(Subject.of("octane", ctx.instance, kind), data, type=kind, key=key, id=id)


async def tell(ctx: Context, beat: Callable[[], None], kind: str, data: dict[str, Any], key: str | None = None) -> None:
    """Publishes an event, retrying until it is stored; all tries have one id, so JetStream drops a repeat."""
    id = new_id()
    while True:
        beat()
        try:
            return await publish(ctx, kind, data, key, id)
        except Refused:
            raise
        except BrokerError as fault:
            logger.warning("Octane event could not be published; retrying", extra={"type": kind, "reason": str(fault)})
            await ctx.sleep(0.5)


def develop(image: wire.ApiRenderImage, quality: int) -> tuple[int, int, bool, bytes]:
    """From raw bytes to a JPEG: width, height, whether rows were missing, the bytes. For a thread."""
    picture = decode(image)
    return picture.width, picture.height, picture.short, to_jpeg(picture, quality)


def describe(statistics: wire.RenderResultStatistics) -> dict[str, Any]:
    """What people want to know of a render's statistics."""
    samples, most = statistics.beautySamplesPerPixel, statistics.beautyMaxSamplesPerPixel
    size = statistics.usedSize if statistics.usedSize.x else statistics.setSize
    return {
        "state": _STATES.get(statistics.state, str(statistics.state)),
        "samples": samples,
        "max_samples": most,
        "denoised_samples": statistics.denoisedSamplesPerPixel,
        "progress": min(1.0, samples / most) if most else 0.0,
        "samples_per_second": statistics.beautySamplesPerSecond,
        "render_time": round(statistics.renderTime, 3),
        "estimated_render_time": round(statistics.estimatedRenderTime, 3),
        "width": size.x,
        "height": size.y,
        "change_level": statistics.changeLevel.value,
        "wipes": statistics.beautyWipeCount,
    }


def track_name(render_pass: int) -> str:
    """The track of a render pass: `beauty`, `z_depth`, or `pass-501` for one without a name here."""
    name = enum_name(wire.RenderPassId, render_pass, "RENDER_PASS_")
    return f"pass-{name}" if name == str(render_pass) else name


async def _within(seconds: float, wait: Any) -> None:
    """Waits for something, but no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass


def _first(group: BaseExceptionGroup[Disconnected]) -> BaseException:
    fault: BaseException = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault
