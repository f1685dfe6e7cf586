"""Sends the encoded pictures of a camera to NATS and to those in this process who tap a rung."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.camera.renditions.encoders import Encoded
from actors.camera.report import CameraReport
from actors.camera.sources.source import BadPicture
from actors.system.context import Context
from router.rungs import JPEG, Rung, rung_subject

# 64 MiB: a JPEG of 100 megapixels; every reader holds all of it. What is larger is refused as a bad picture.
MAX_PICTURE = 64 << 20

# 1 s: how often a picture that stands still is sent again, so that viewers know that the camera lives.
REPEAT_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture of a rung as it is sent. `header["key"]` of H.264 says that it can be decoded by itself."""

    rung: Rung
    header: Mapping[str, Any]
    body: bytes


Listener = Callable[[EncodedPicture], None]


class _Tap:
    """One listener to a rung. Of H.264 it gets nothing before a key."""

    def __init__(self, rung: Rung, listener: Listener) -> None:
        self.rung = rung
        self._listener = listener
        self._begun = rung.independent

    def show(self, picture: EncodedPicture) -> None:
        self._begun = self._begun or bool(picture.header["key"])
        if self._begun:
            self._listener(picture)


class PictureSender:
    """Numbers, sends and repeats the pictures of all rungs of one camera."""

    def __init__(self, report: CameraReport) -> None:
        self._report = report
        self._taps: list[_Tap] = []
        self._packets: dict[Rung, int] = {}
        self._newest: dict[Rung, int] = {}
        self._last: dict[Rung, EncodedPicture] = {}
        self._sent: dict[Rung, float] = {}

    def begin(self, ctx: Context) -> None:
        """Begins a new incarnation."""
        self._ctx = ctx

    @property
    def tapped(self) -> Counter[Rung]:
        """How many tap each rung."""
        return Counter(tap.rung for tap in self._taps)

    def tap(self, rung: Rung, listener: Listener) -> Callable[[], None]:
        """Gives each picture of a rung to a listener until the returned function is called."""
        tap = _Tap(rung, listener)
        self._taps.append(tap)

        def release() -> None:
            with contextlib.suppress(ValueError):
                self._taps.remove(tap)

        return release

    def fits(self, encoded: Encoded) -> bool:
        """Whether a picture can be sent; one that is too large is counted as a bad one, so that the camera's state says so."""
        if len(encoded.body) <= MAX_PICTURE:
            return True
        # Rounded up, so that a picture of a byte too many is not said to be as large as the most.
        mib, most = -(-len(encoded.body) >> 20), MAX_PICTURE >> 20
        fault = BadPicture(f"a picture of {mib} MiB is larger than the {most} MiB that can be sent")
        self._report.count_bad_picture(fault, "broker")
        return False

    def send(self, rung: Rung, seq: int, time: float, encoded: Encoded, quality: int) -> bool:
        """Sends a picture. False says that packets of H.264 were lost, and that the next one should be a key."""
        fresh = seq > self._newest.get(rung, -1)
        self._newest[rung] = max(seq, self._newest.get(rung, -1))
        picture = EncodedPicture(rung, self._header(rung, seq, time, encoded, quality, fresh), encoded.body)
        whole = self._send(picture)
        # Of H.264 nothing is sent again, so the body need not be kept.
        self._last[rung] = picture if rung.independent else EncodedPicture(rung, picture.header, b"")
        self._show_taps(picture)
        return whole

    def has_sent(self, rung: Rung) -> bool:
        """Whether anything was sent of a rung since somebody watches it."""
        return rung in self._last

    def repeat(self, rung: Rung) -> None:
        """Sends the last picture of a rung once more, marked as a repeat, at most once a second; of H.264 nothing."""
        last = self._last.get(rung)
        if last is not None and rung.independent and self._ctx.now() - self._sent[rung] >= REPEAT_EVERY:
            repeated = EncodedPicture(rung, {**last.header, "fresh": False}, last.body)
            self._send(repeated)
            self._show_taps(repeated)

    def forget(self, rung: Rung) -> None:
        """Lets go of the last picture of a rung that nobody watches."""
        self._last.pop(rung, None)

    def _show_taps(self, picture: EncodedPicture) -> None:
        for tap in [tap for tap in self._taps if tap.rung == picture.rung]:
            tap.show(picture)

    def _send(self, picture: EncodedPicture) -> bool:
        rung, ctx = picture.rung, self._ctx
        self._sent[rung] = ctx.now()
        if rung.independent:
            track = None if rung == JPEG else rung.token
            if not ctx.frame("camera", ctx.instance, picture.header, picture.body, track):
                # The one before it was still waiting, or could not be sent.
                self._report.drop("broker")
            return True
        whole = ctx.packet(rung_subject(ctx.instance, rung), picture.header, picture.body)
        if not whole:
            self._report.drop("broker")
        return whole or bool(picture.header["key"])

    def _header(self, rung: Rung, seq: int, time: float, encoded: Encoded, quality: int, fresh: bool) -> dict[str, Any]:
        about = self._report.about
        header = {
            "seq": seq,
            "life": self._ctx.life,
            "time": time,
            "width": encoded.width,
            "height": encoded.height,
            "format": rung.codec,
            "rung": rung.token,
            "fresh": fresh,
            "source": about["source"],
            "simulated": about["simulated"],
            "fps": round(self._report.figures.sent.fps, 2),
        }
        # How the source encoded its own pictures is not known here.
        header |= {"encoded": "source"} if encoded.given else {"quality": quality}
        if not rung.independent:
            number = self._packets[rung] = self._packets.get(rung, -1) + 1
            header |= {"key": encoded.key, "codec": encoded.codec, "packet": number}
        return header
