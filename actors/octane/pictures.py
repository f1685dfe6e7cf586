"""Fetches the pictures of a connected Octane, encodes them, and sends them to FRAMES."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Histogram

from actors.octane.client import Identity, OctaneClient
from actors.octane.condition import Observe, PictureFetched, PictureOversized, PictureUnreadable, RenderProgress
from actors.octane.errors import CallFailed, Oversized, Unreadable
from actors.octane.formats import Ladder
from actors.octane.passes import track_name
from actors.octane.pixels import decode
from actors.octane.waiting import within
from actors.system.context import Context
from protos import octane_types_pb2 as wire
from router.rendition import DEFAULT

logger = logging.getLogger(__name__)

PICTURES = Counter("actors_octane_pictures", "Pictures that came from Octane, by what became of them.", ["outcome"])
ENCODE_SECONDS = Histogram("actors_octane_encode_seconds", "Time from a picture's raw bytes to its JPEG.")

# 32: one track a render pass, and the ids come from outside; nobody looks at more.
MAX_TRACKS = 32


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How often pictures are fetched, and how they are encoded. Rates per second, times in seconds."""

    quality: int = 85
    max_fps: float = 30.0
    # Pictures without viewers: enough that a new viewer sees something at once.
    idle_fps: float = 0.5
    # FRAMES forgets a picture soon, so one that still holds is sent again.
    refresh: float = 2.0


@dataclass(frozen=True, slots=True)
class PictureStamp:
    """What tells one picture of a track from another."""

    change_level: int
    samples: float
    region_samples: float
    pending: bool
    size: tuple[int, int]

    def newer_than(self, shown: PictureStamp | None) -> bool:
        """Says whether this picture should take the place of the one shown.

        After a camera move pictures of the scene before it may still come: their change level is lower.
        """
        return shown is None or (self != shown and self.change_level >= shown.change_level)


class OctanePictures:
    """The pictures of one connection: fetched when one is announced, encoded once, sent to FRAMES."""

    def __init__(
        self,
        client: OctaneClient,
        identity: Identity,
        settings: PictureSettings,
        ctx: Context,
        numbers: Iterator[int],
        observe: Observe = lambda _: None,
    ) -> None:
        self._observe = observe
        self._client, self._identity, self._settings, self._ctx = client, identity, settings, ctx
        self._numbers = numbers
        self._viewers = ctx.viewers("octane", ctx.instance)
        # A set flag stands for any number of notifications: what is fetched is always the newest.
        self._waits = asyncio.Event()
        self._embedded: Sequence[wire.ApiRenderImage] = ()
        self._shown: dict[str, PictureStamp] = {}
        self._latest: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._complaint = ""

    def announce(self, images: Sequence[wire.ApiRenderImage] = ()) -> None:
        """Takes note that there is a new picture; `images` where it came along."""
        if images:
            self._embedded = images
        self._waits.set()

    def forget(self) -> None:
        """Takes the next picture for a new one: Octane began to count anew."""
        self._shown.clear()

    async def run(self) -> None:
        """Shows one picture after the other; what is announced meanwhile is one announcement."""
        while True:
            await self._wait()
            if not self._waits.is_set():
                self._show_again()
                continue
            self._waits.clear()
            images, self._embedded = self._embedded, ()
            try:
                for image in (images or await self._client.grab())[:MAX_TRACKS]:
                    await self._show(image)
            except Oversized as fault:
                PICTURES.labels("unreadable").inc()
                self._observe(PictureOversized(str(fault)))
                # The next one will be too large as well.
                await self._ctx.sleep(1.0)
            except CallFailed as fault:
                self._complain(str(fault))
                await self._ctx.sleep(1.0)

    async def _wait(self) -> None:
        """Waits until a picture may be fetched, or the last one has to be sent again."""
        if not self._viewers.count and self._latest:
            await within(1 / self._settings.idle_fps, self._viewers.wait_for_some())
            return
        await self._ctx.sleep(1 / self._settings.max_fps)
        await within(self._settings.refresh, self._waits.wait())

    async def _show(self, image: wire.ApiRenderImage) -> None:
        """Sends one picture to FRAMES, unless it is the one sent last."""
        track = track_name(image.renderPassId)
        samples = image.tonemappedSamplesPerPixel or image.calculatedSamplesPerPixel
        progress = RenderProgress(image.changeLevel.value, 0, samples, image.regionSamplesPerPixel)
        # Events may come twice, and for one image; some servers leave these numbers out, and then each is new.
        stamp = stamp_of(image)
        if stamp is not None and not stamp.newer_than(self._shown.get(track)):
            PICTURES.labels("same").inc()
            self._observe(PictureFetched(track, new=False, progress=progress))
            return
        if track not in self._latest and len(self._latest) >= MAX_TRACKS:
            return
        started = self._ctx.now()
        try:
            width, height, short, jpeg = await self._ctx.offload(develop, image, self._settings.quality)
        except Unreadable as fault:
            PICTURES.labels("unreadable").inc()
            self._observe(PictureUnreadable(str(fault), track))
            return
        ENCODE_SECONDS.observe(self._ctx.now() - started)
        if short:
            self._observe(PictureUnreadable("octane sent a picture with rows missing", track))
        else:
            self._observe(PictureFetched(track, progress=progress))
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
        if stamp is not None:
            self._shown[track] = stamp
        self._latest[track] = (header, jpeg)
        self._ctx.frame("octane", self._ctx.instance, header, jpeg, track=track)
        PICTURES.labels("short" if short else "sent").inc()

    def _show_again(self) -> None:
        """Sends what was sent last, unchanged: number and time say that it is the same picture."""
        for track, (header, jpeg) in self._latest.items():
            self._ctx.frame("octane", self._ctx.instance, header, jpeg, track=track)

    def _complain(self, reason: str) -> None:
        """Logs a reason once, not once a picture."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning("Octane's pictures cannot be shown", extra={"reason": reason, "octane": self._ctx.instance})


def develop(image: wire.ApiRenderImage, quality: int) -> tuple[int, int, bool, bytes]:
    """From raw bytes to a JPEG: width, height, whether rows were missing, the bytes. For a thread."""
    picture = decode(image)
    return picture.width, picture.height, picture.short, Ladder(picture, quality).make(DEFAULT).body


def stamp_of(image: wire.ApiRenderImage) -> PictureStamp | None:
    """The stamp of a picture; None where the server leaves its numbers out, and then each one is new."""
    samples = image.tonemappedSamplesPerPixel or image.calculatedSamplesPerPixel
    if not samples and not image.regionSamplesPerPixel:
        return None
    return PictureStamp(
        change_level=image.changeLevel.value,
        samples=samples,
        region_samples=image.regionSamplesPerPixel,
        pending=image.hasPendingUpdates,
        size=(image.size.x, image.size.y),
    )
