"""Fetches the pictures of a connected Octane, encodes what is watched of them, and sends it to FRAMES."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Histogram

from actors.octane.client import Identity, OctaneClient
from actors.octane.errors import CallFailed, Oversized, Unreadable
from actors.octane.held import HeldPicture, PictureStamp, progress_of, stamp_of
from actors.octane.observations import Observe, PictureFetched, PictureOversized, PictureUnreadable, TrackDropped
from actors.octane.pacing import FetchPacer
from actors.octane.pass_switch import PassSwitch
from actors.octane.passes import BEAUTY, MAX_TRACKS, passes_of
from actors.octane.waiting import within
from actors.octane.watched import WatchedRenditions
from actors.system.context import Context
from protos import octane_types_pb2 as wire
from router.rendition import DEFAULT, STREAMED, Rendition

logger = logging.getLogger(__name__)

PICTURES = Counter("actors_octane_pictures", "Pictures that came from Octane, by what became of them.", ["outcome"])
ENCODE_SECONDS = Histogram("actors_octane_encode_seconds", "Time that one rendition of a picture takes to encode.")


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How often pictures are fetched, and how they are encoded. Rates per second, times in seconds."""

    quality: int = 85
    max_fps: float = 30.0
    # Pictures without viewers: enough that a new viewer sees something at once.
    idle_fps: float = 0.5
    # FRAMES forgets a picture soon, so one that still holds is sent again.
    refresh: float = 2.0


async def _nobody_asks(_watched: bool) -> None:
    """Takes the place of who would want to know whether anybody watches."""


class OctanePictures:
    """The pictures of one connection. The next one is fetched while the one before is encoded; the newest wins."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        settings: PictureSettings,
        ctx: Context,
        numbers: Iterator[int],
        observe: Observe = lambda _: None,
        on_watched: Callable[[bool], Awaitable[None]] = _nobody_asks,
    ) -> None:
        # Told of each picture that is new, in the rendition that is kept, as it is sent to FRAMES: track, header, body.
        self.on_picture: Callable[[str, Mapping[str, Any], bytes], None] | None = None
        self._client, self._identity, self._settings, self._ctx = client, identity, settings, ctx
        self._numbers, self._observe, self._on_watched = numbers, observe, on_watched
        self.passes = PassSwitch(client)
        self._watched = WatchedRenditions(ctx.viewers("octane", ctx.instance))
        self._pacer = FetchPacer(settings.max_fps)
        # A set flag stands for any number of notifications: what is fetched is always the newest.
        self._waits = asyncio.Event()
        self._embedded: Sequence[wire.ApiRenderImage] = ()
        self._shown: dict[str, PictureStamp] = {}
        # From the fetching to the encoding: one result at most waits, by track.
        self._offered: dict[str, HeldPicture] = {}
        self._taken = asyncio.Event()
        self._taken.set()
        self._work, self._slow_work = asyncio.Event(), asyncio.Event()
        self._held: dict[str, HeldPicture] = {}
        self._fetched_at = self._kept_at = float("-inf")
        self._complaint = ""

    def announce(self, images: Sequence[wire.ApiRenderImage] = ()) -> None:
        """Takes note that there is a new picture; `images` where it came along."""
        if images:
            self._embedded = images
        self._waits.set()

    def forget(self) -> None:
        """Takes the next picture for a new one: Octane began to count anew."""
        self._shown.clear()

    def saw(self, statistics: wire.RenderResultStatistics) -> None:
        """Takes note of what the statistics say of the render passes."""
        self.passes.saw(statistics)

    async def run(self) -> None:
        """Shows one picture after the other until cancelled. Raises Disconnected."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fetch())
            tasks.create_task(self._encode())
            tasks.create_task(self._encode_slowly())
            tasks.create_task(self._follow_viewers())

    async def _fetch(self) -> None:
        """Fetches the newest pictures; what is announced meanwhile is one announcement."""
        while True:
            await self._due()
            self._waits.clear()
            images, self._embedded = self._embedded, ()
            order = self.passes.order
            try:
                images = images or await self._client.grab()
                if self.passes.order == order:
                    self._offer(images)
                else:
                    # Nobody knows which passes these are.
                    self._waits.set()
            except Oversized as fault:
                PICTURES.labels("unreadable").inc()
                self._observe(PictureOversized(str(fault)))
                # The next one will be too large as well.
                await self._ctx.sleep(1.0)
            except CallFailed as fault:
                self._complain(str(fault))
                await self._ctx.sleep(1.0)

    async def _due(self) -> None:
        """Waits until there is a picture to fetch, and it may be."""
        while True:
            await self._waits.wait()
            idle = self._fetched_at + 1 / self._settings.idle_fps - self._ctx.now()
            if self._watched.some or idle <= 0:
                break
            await within(idle, self._watched.wait_for_some())
        await self._ctx.sleep(self._pacer.remaining(self._ctx.now()))
        # The last result is in the hands of the encoder by now, or this one would only wait for it.
        await self._taken.wait()
        self._pacer.begin(self._ctx.now())

    def _offer(self, images: Sequence[wire.ApiRenderImage]) -> None:
        """Hands on what is new of a result and watched."""
        if images:
            self._fetched_at = self._ctx.now()
        images = images[:MAX_TRACKS]
        ids, order = [image.renderPassId for image in images], self.passes.order
        if len(order) != len(ids) and not any(ids) and not self.passes.settled(self._ctx.now()):
            # Of a result of the passes before a switch only the first is known.
            images, ids = images[:1], ids[:1]
        tracks = passes_of(ids, order)
        watched = self._watched.by_track()
        for track, image in zip(tracks, images, strict=True):
            if track not in watched and track != BEAUTY:
                PICTURES.labels("unwatched").inc()
                continue
            # Events may come twice, and for one image; some servers leave these numbers out, and then each is new.
            stamp = stamp_of(image)
            if stamp is not None and not stamp.newer_than(self._shown.get(track)):
                PICTURES.labels("same").inc()
                self._observe(PictureFetched(track, new=False, progress=progress_of(image)))
                continue
            if stamp is not None:
                self._shown[track] = stamp
            self._offered[track] = HeldPicture(
                track, image, next(self._numbers), simulated=self._identity.simulated, quality=self._settings.quality
            )
        if self._offered:
            self._taken.clear()
            self._work.set()

    async def _encode(self) -> None:
        """Makes and sends what is watched, each rendition of a picture once; what holds on is sent again now and then."""
        while True:
            self._work.clear()
            offered, self._offered = self._offered, {}
            self._taken.set()
            self._held |= offered
            watched = self._watched.by_track()
            for track in [track for track in self._held if track not in watched and track != BEAUTY]:
                # Who watches it again wants a picture of then.
                del self._held[track]
                self._shown.pop(track, None)
                self._observe(TrackDropped(track))
            for held in list(self._held.values()):
                await self._make(held, self._renditions(held, watched))
            self._slow_work.set()
            now = self._ctx.now()
            again = min((held.sent_at for held in self._held.values()), default=now) + self._settings.refresh
            if again <= now:
                self._send_again(now)
            elif not self._work.is_set():
                await within(again - now, self._work.wait())

    async def _encode_slowly(self) -> None:
        """Makes and sends what takes a good part of a second, so that no stream waits for it."""
        while True:
            await self._slow_work.wait()
            self._slow_work.clear()
            watched = self._watched.by_track()
            for held in list(self._held.values()):
                slow = [each for each in watched.get(held.track, []) if each.format not in STREAMED]
                await self._make(held, slow, streamed=False)

    def _renditions(self, held: HeldPicture, watched: dict[str, list[Rendition]]) -> list[Rendition]:
        """What to make of a picture at once: what is streamed, and of the beauty pass now and then what is kept."""
        wanted = [each for each in watched.get(held.track, []) if each.format in STREAMED]
        if held.track == BEAUTY and DEFAULT not in held.sent:
            kept = self._ctx.now() - self._kept_at < 1 / self._settings.idle_fps
            if not kept or not self._watched.some:
                wanted = [*wanted, DEFAULT]
        # The default one first: whether it can be made decides whether the picture counts as readable.
        return sorted(set(wanted), key=lambda rendition: (rendition != DEFAULT, rendition.token))

    async def _make(self, held: HeldPicture, renditions: list[Rendition], *, streamed: bool = True) -> None:
        """Makes and sends what is missing of a picture, among the formats that are streamed or the others."""
        for rendition in renditions:
            if rendition in held.settled:
                continue
            held.settled.add(rendition)
            started = self._ctx.now()
            try:
                made = await self._ctx.offload(held.make, rendition)
            except Unreadable as fault:
                self._fail(held, rendition, str(fault))
                continue
            ENCODE_SECONDS.observe(self._ctx.now() - started)
            self._tell(held)
            held.sent[rendition] = (dict(held.header(rendition, made)), made.body)
            held.sent_at = self._ctx.now()
            self._send(held, rendition)
            if rendition == DEFAULT and self.on_picture is not None:
                self.on_picture(held.track, *held.sent[rendition])
            if (held.track, rendition) == (BEAUTY, DEFAULT):
                self._kept_at = self._ctx.now()
        for gone in held.settled.difference(renditions):
            if (gone.format in STREAMED) is not streamed:
                continue
            # Who watches it again is sent it again.
            held.settled.discard(gone)
            if (held.track, gone) != (BEAUTY, DEFAULT):
                held.sent.pop(gone, None)

    def _tell(self, held: HeldPicture) -> None:
        """Says once what became of a picture."""
        if held.told:
            return
        held.told = True
        PICTURES.labels("short" if held.short else "sent").inc()
        if held.short:
            self._observe(PictureUnreadable("octane sent a picture with rows missing", held.track))
        else:
            self._observe(PictureFetched(held.track, progress=held.progress))

    def _fail(self, held: HeldPicture, rendition: Rendition, reason: str) -> None:
        """Says why a picture cannot be shown, or not in one of its renditions."""
        if held.readable and rendition != DEFAULT:
            self._tell(held)
            self._complain(f"{held.track} as {rendition.token}: {reason}")
            return
        held.told = True
        PICTURES.labels("unreadable").inc()
        # One that comes again is as unreadable as this one.
        self._shown.pop(held.track, None)
        self._observe(PictureUnreadable(reason, held.track))

    def _send(self, held: HeldPicture, rendition: Rendition) -> None:
        header, body = held.sent[rendition]
        self._ctx.frame("octane", self._ctx.instance, header, body, track=held.track, rendition=rendition)

    def _send_again(self, now: float) -> None:
        """Sends what was sent before, unchanged: number and time say that it is the same picture."""
        for held in self._held.values():
            if held.sent_at + self._settings.refresh <= now:
                held.sent_at = now
                for rendition in held.sent:
                    self._send(held, rendition)

    async def _follow_viewers(self) -> None:
        """Does what follows from who watches: the callback for images, the render passes, pictures of a new track."""
        told: bool | None = None
        while True:
            tracks = self._watched.by_track()
            if told is not self._watched.some:
                told = self._watched.some
                await self._on_watched(told)
            self.passes.want(tracks)
            if self.passes.due(self._ctx.now()) and await self.passes.switch(self._ctx.now()):
                self._waits.set()
            if any(track not in self._held for track in tracks):
                self._waits.set()
            self._work.set()
            # Leases are refreshed every two seconds, so what Octane forgot meanwhile is noticed as well.
            await within(self._settings.refresh, self._watched.wait_for_news())

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not once a picture."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning("Octane's pictures cannot be shown", extra={"reason": reason, "octane": self._ctx.instance})
