"""Delivers the pictures of one source to one viewer: which one is sent, when, and at which rung; without any I/O of its own.

A picture is chosen only when the last has left this process and, where the client says which it has shown, when it has
credit: so what a slow viewer is sent next is the present. Nothing older than what was sent is sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from edge import metrics
from edge.disconnect import EXPIRED, Disconnect
from edge.settings import VideoSettings
from edge.transports.video.credit import LEAST_WINDOW, PACKET_WINDOW, Credit
from edge.transports.video.frame import Frame, Order
from edge.transports.video.ladder import RungLadder, described
from edge.transports.video.mp4 import BadAccessUnit
from edge.transports.video.mp4_viewer import Mp4Messages
from edge.transports.video.pace import ReadPace
from edge.transports.video.statistics import TransportCounts
from edge.transports.video.viewer import RungViewer
from edge.transports.video.wish import BadWish, PictureRate, Wish
from router.codec import from_json
from router.errors import BadEvent, BrokerError
from router.rungs import Rung

# After the store of leases could not be reached.
RETRY_SECONDS = 1.0
# How long the rung of before is shown while the next one is being begun.
SWITCH_SECONDS = 3.0

# A client over plain ASGI that acknowledges nothing for so long is paced by its socket.
SILENT_SECONDS = 1.0
# A client that answers no ping for so long after the first never will: only its socket paces it.
PROBE_SECONDS = 2.0

# Gives a viewer of a rung; of a source that has no ladder for None.
Watch = Callable[[Rung | None], AbstractAsyncContextManager[RungViewer]]


class PictureSink(Protocol):
    """Where the pictures of one viewer are written."""

    transport: str
    # Whether it can ask the client, by a ping behind a picture, how far it has read.
    probes: bool

    @property
    def writable(self) -> bool:
        """Whether all that was written has left this process."""

    @property
    def waiting(self) -> int:
        """How many bytes have not left this process, as far as that is known."""

    @property
    def unread(self) -> int:
        """How many bytes the client's kernel has and the client has not read, as far as that is known."""

    def write(self, frame: Frame, mp4: Mp4Messages | None) -> int:
        """Writes a picture; returns how many bytes it takes. Raises BadAccessUnit."""

    def tell(self, said: Mapping[str, Any]) -> None:
        """Writes a message of text, where the transport has such."""

    def probe(self, number: int) -> None:
        """Writes a ping with a number, whose answer is passed to `read`."""

    def narrow(self, size: int) -> None:
        """Makes the kernel hold little more than so many bytes that the client has not taken."""

    def close(self, reason: Disconnect) -> None:
        """Ends the connection behind what was written."""

    def abort(self) -> None:
        """Ends the connection at once."""


class PictureDelivery:
    """What one viewer is sent."""

    def __init__(
        self, watch: Watch, sink: PictureSink, counts: TransportCounts, settings: VideoSettings, wish: Wish | None
    ) -> None:
        """A source that has no ladder has no `wish`."""
        self._watch, self._sink, self._counts, self._settings = watch, sink, counts, settings
        self._wish = wish
        self._ladder = RungLadder(wish.rung) if wish is not None else None
        self._rate = PictureRate(wish.fps if wish is not None else None)
        self._credit = Credit(self._window)
        # Of a client that does not acknowledge: pictures behind which a ping is not answered yet.
        self._probes = Credit() if sink.probes else None
        self._probed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pace = ReadPace()
        self._viewer: RungViewer | None = None
        self._rung: Rung | None = None
        self._mp4: Mp4Messages | None = None
        self._sent: Order | None = None
        self._frame: Frame | None = None
        self._source_height: int | None = None
        # What is told with the first picture of another rung: its name, and why.
        self._switched: dict[str, Any] | None = None
        self._change = asyncio.Event()
        self._reason = "asked"
        self._narrowed = 0
        self._clock = asyncio.get_running_loop().time
        self._begun = self._progress = self._clock()
        self._waiting = 0
        self._says_age = False
        # When the viewer's token is no longer valid, by the loop's clock.
        self.until = float("inf")
        self.sent = 0
        self._looked = (0, 0)
        self._missed = 0

    @property
    def _window(self) -> int:
        packets = self._wish is not None and not self._wish.rung.independent
        return PACKET_WINDOW if packets else LEAST_WINDOW

    # Which rung is watched: the one task of a viewer, which sleeps but for a change.

    async def run(self, status: Mapping[str, Any]) -> None:
        """Watches until cancelled. `status` is told with the first message: what the source does."""
        rung = self._ladder.rung if self._ladder is not None else None
        self._sink.tell({"control": "ready", **described(rung), "window": self._window, **status})
        current = AsyncExitStack()
        try:
            while True:
                self._change.clear()
                rung, reason = self._ladder.rung if self._ladder is not None else None, self._reason
                stack = AsyncExitStack()
                try:
                    viewer = await stack.enter_async_context(self._watch(rung))
                    # The rung of before is shown until then.
                    if self._viewer is not None and not await viewer.arrives(SWITCH_SECONDS) and reason != "asked":
                        await stack.aclose()
                        self._stay()
                        continue
                except BrokerError:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                except BaseException:
                    await stack.aclose()
                    raise
                before, current = current, stack
                self._attach(viewer, rung, reason)
                await before.aclose()
                await self._change.wait()
        finally:
            await current.aclose()

    def _stay(self) -> None:
        """Stays at the rung of before: the other one brought no picture."""
        assert self._ladder is not None and self._rung is not None
        self._ladder.rung = self._rung

    def _attach(self, viewer: RungViewer, rung: Rung | None, reason: str) -> None:
        if self._viewer is not None:
            self._collect()
            self._viewer.on_arrival = None
            viewer.dropped.clear()
            self._switched = {"control": "rung", **described(rung), "reason": reason}
        self._mp4 = Mp4Messages() if self._wish is not None and self._wish.format == "mp4" else None
        self._viewer, self._rung = viewer, rung
        viewer.on_arrival = self.pump
        self.pump()

    # Pictures.

    def pump(self) -> None:
        """Sends what may be sent now. Called when a picture arrives, the last one has left, or one was shown."""
        viewer, sink = self._viewer, self._sink
        while viewer is not None and viewer.waiting and sink.writable and self._open:
            frame = viewer.take()
            if frame is None:
                return
            now = self._clock()
            if not self._passes(frame, viewer, now):
                continue
            try:
                self._send(frame, now)
            except BadAccessUnit:
                viewer.miss()

    @property
    def _open(self) -> bool:
        """Whether the client has room for another picture, as far as it says."""
        if self._credit.acknowledges:
            return self._credit.open
        return self._probes.open if self._probes is not None else self._is_read()

    def _is_read(self) -> bool:
        """Whether the client has read what it was sent, or was given time to."""
        if not self._narrowed:
            return True
        now = self._clock()
        if self._sink.transport == "websocket" and now - self._begun < SILENT_SECONDS:
            # It may be about to acknowledge.
            ready, wait = self._credit.under_way < self._credit.window, self._begun + SILENT_SECONDS - now
        else:
            wait = self._pace.due(now)
            ready = wait <= 0
        if not ready and self._timer is None:
            # The picture that waits may be the last one.
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_time)
        return ready

    def _on_time(self) -> None:
        self._timer = None
        self.pump()

    def _passes(self, frame: Frame, viewer: RungViewer, now: float) -> bool:
        """Whether a picture is to be sent; counts why not."""
        order, single = frame.order, frame.single
        late = order is not None and self._sent is not None and order <= self._sent
        if late and (order != self._sent or frame.fresh) and (single or frame.key):
            viewer.dropped["old"] += 1
            # Of pictures that build on one another none may be left out: those of another rung begin at its next key.
            viewer.miss()
            viewer.ask_key()
            return False
        if single and not self._rate.takes(now):
            viewer.dropped["rate"] += 1
            return False
        return True

    def _send(self, frame: Frame, now: float) -> None:
        sink, header = self._sink, frame.header
        if self._switched is not None:
            told, self._switched = self._switched, None
            sink.tell(told)
        size = sink.write(frame, self._mp4)
        if not size:
            return
        self._sent, self._frame = frame.order or self._sent, frame
        self._counts.sent(frame, size)
        self.sent += frame.fresh
        captured = frame.captured
        if isinstance(seq := header.get("seq"), int):
            self._credit.sent(header.get("life") or 0, seq, captured, now)
        if not self._credit.acknowledges:
            self._pace_by_reading(size, captured, now)
        if self._ladder is not None and self._ladder.rung.height is None and isinstance(header.get("height"), int):
            self._source_height = header["height"]

    def _pace_by_reading(self, size: int, captured: float, now: float) -> None:
        """Paces a client that does not say what it has shown: by what it has read, and by its socket."""
        if self._probes is not None:
            self._probed += 1
            self._probes.sent(0, self._probed, captured, now)
            self._sink.probe(self._probed)
            return
        if self._pace.sent(now, self._sink.unread / self._narrowed if self._narrowed else 0.0):
            self._progress = now
        if not 0.7 * self._narrowed < size <= self._narrowed:
            self._narrowed = size
            self._sink.narrow(size)
        if self._sink.writable:
            self.left()

    def read(self, number: int) -> None:
        """Notes that the client has read all up to a ping."""
        if self._probes is None:
            return
        now = self._clock()
        self._progress = now
        found = self._probes.shown(number, 0, now)
        if found is not None and not self._credit.acknowledges and found.time:
            self._counts.aged(time.time() * 1000 - found.time)
        self.pump()

    def left(self) -> None:
        """Notes that what was written has left this process: of a client that says nothing, all that is known of the age."""
        frame, self._frame = self._frame, None
        if frame is not None and not self._credit.acknowledges and self._probes is None and frame.fresh:
            captured = frame.header.get("time")
            if isinstance(captured, (int, float)):
                self._counts.aged(time.time() * 1000 - captured)

    def resumed(self) -> None:
        """Goes on when all that was written has left."""
        self._progress = now = self._clock()
        self._pace.left(now)
        self.left()
        self.pump()

    # What the client says.

    def hear(self, raw: bytes | str) -> Mapping[str, Any] | None:
        """Takes a message of the client; returns the answer to it, where there is one."""
        try:
            said = from_json(raw)
        except BadEvent:
            said = None
        if not isinstance(said, dict):
            return {"control": "error", "code": "bad_json", "detail": "a message must be a JSON object"}
        match said.get("control"):
            case "shown":
                return self._shown(said)
            case "prefer":
                return self._prefer(said)
            case "ping":
                return {"control": "pong", "id": said.get("id")}
        return {"control": "error", "code": "unknown_control", "detail": "known controls: shown, prefer, ping"}

    def _shown(self, said: Mapping[str, Any]) -> Mapping[str, Any] | None:
        seq, life, age = said.get("seq"), said.get("life"), said.get("age")
        if type(seq) is not int or (life is not None and type(life) is not int):
            return {"control": "error", "code": "bad_shown", "detail": "seq and life must be whole numbers"}
        now = self._clock()
        found = self._credit.shown(seq, life, now)
        self._progress = now
        if found is not None:
            if type(age) in (int, float):
                self._says_age = True
                self._counts.aged(float(age))  # type: ignore[arg-type]
            elif not self._says_age and found.time:
                self._counts.aged(time.time() * 1000 - found.time)
        self.pump()
        return None

    def _prefer(self, said: dict[str, Any]) -> Mapping[str, Any] | None:
        if self._wish is None or self._ladder is None:
            return {"control": "error", "code": "bad_prefer", "detail": "this source has no rungs to choose from"}
        try:
            wish = self._wish.changed(said)
        except BadWish as fault:
            return {"control": "error", "code": "bad_prefer", "detail": str(fault)}
        anew = wish.rung != self._ladder.asked or wish.format != self._wish.format
        self._wish = wish
        if wish.fps != self._rate.fps:
            self._rate = PictureRate(wish.fps)
        if anew:
            self._ladder = RungLadder(wish.rung)
            self._switch("asked")
        return None

    def tell(self, said: Mapping[str, Any]) -> None:
        """Tells the client something, such as what the source does now."""
        self._sink.tell(said)

    # Once a second.

    def look(self, now: float) -> None:
        """Ends a connection that has stalled or whose token has expired; moves the viewer along the ladder."""
        self._collect()
        waiting, viewer = self._sink.waiting, self._viewer
        stuck = not self._sink.writable or (not self._open and viewer is not None and viewer.waiting)
        if (
            self._probes is not None
            and not self._probes.acknowledges
            and self._probes.under_way
            and (now - self._begun > PROBE_SECONDS)
        ):
            self._probes = None
            self.pump()
        if not stuck or waiting < self._waiting:
            self._progress = now
        self._waiting = waiting
        if now >= self.until:
            self._sink.close(EXPIRED)
        elif now - self._progress >= self._settings.stall:
            metrics.disconnects.labels(self._sink.transport, "stalled").inc()
            self._sink.abort()
        elif self._ladder is not None and self._sink.transport == "websocket" and not self._change.is_set():
            sent, missed = self.sent - self._looked[0], self._missed - self._looked[1]
            self._looked = self.sent, self._missed
            if (reason := self._ladder.look(sent, missed, self._source_height)) is not None:
                self._switch(reason)

    def _collect(self) -> None:
        """Counts what was dropped since the last time."""
        if self._viewer is not None and (dropped := self._viewer.dropped):
            self._missed += dropped["slow"] + dropped["behind"]
            self._counts.drop(dropped)
            dropped.clear()

    def _switch(self, reason: str) -> None:
        self._reason = reason
        self._change.set()

    def end(self) -> None:
        """Counts the rest."""
        if self._timer is not None:
            self._timer.cancel()
        self._collect()
        if self._viewer is not None:
            self._viewer.on_arrival = None
            self._viewer = None
