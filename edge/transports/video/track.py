"""One picture stream as this process receives it: its viewers, and what one that joins begins with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge.transports.video.frame import Frame, Order
from edge.transports.video.parts import LiveParts
from edge.transports.video.viewer import MOST_WAITING, MOST_WAITING_BYTES, PacketViewer, RungViewer, Viewer
from router.nats.subscription import Subscription


class Track:
    """A stream of pictures of which each stands by itself."""

    # Whether the picture that NATS keeps is of use to a viewer that joins.
    keeps_last = True

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.viewers: set[RungViewer] = set()
        self.listening: list[Subscription] = []
        self.lease: asyncio.Task[None] | None = None
        self.gathering: asyncio.Task[None] | None = None
        self.parts = LiveParts()
        self.users = 0
        self.changing = asyncio.Lock()
        self._newest: Order | None = None

    def viewer(self) -> RungViewer:
        """A viewer that joins now."""
        return Viewer()

    def show(self, frame: Frame) -> None:
        """Gives a picture to all viewers, unless a newer one came before it."""
        order = frame.order
        if order is not None:
            if self._newest is not None and (order < self._newest or (order == self._newest and frame.fresh)):
                for viewer in self.viewers:
                    viewer.dropped["old"] += 1
                return
            self._newest = order
        self._offer(frame)

    def forget(self) -> None:
        """Forgets what came before: nothing is received for a while."""

    def miss(self) -> None:
        """Tells all viewers that a picture was lost."""
        for viewer in self.viewers:
            viewer.miss()

    def _offer(self, frame: Frame) -> None:
        now = asyncio.get_running_loop().time()
        for viewer in tuple(self.viewers):
            viewer.offer(frame, now)


class PacketTrack(Track):
    """A stream of pictures that build on one another: keeps those since the last key, and asks for a key where one is needed."""

    # Alone it could not be decoded.
    keeps_last = False

    def __init__(self, subject: str, ask_key: Callable[[], None]) -> None:
        """`ask_key` asks the source for a key, however often it is called."""
        super().__init__(subject)
        self._ask_key = ask_key
        self._since_key: list[Frame] = []
        self._bytes = 0
        # Life and number of the last packet.
        self._last: tuple[int, int] | None = None

    def viewer(self) -> RungViewer:
        if not self._since_key:
            self._ask_key()
        viewer = PacketViewer(self._since_key, asyncio.get_running_loop().time())
        viewer.ask_key = self._ask_key
        return viewer

    def show(self, frame: Frame) -> None:
        """Gives a picture to all viewers where those before it were given; asks for a key where they were not."""
        header = frame.header
        life, packet = header.get("life"), header.get("packet")
        if not isinstance(life, int) or not isinstance(packet, int):
            return
        last, self._last = self._last, max(self._last or (0, 0), (life, packet))
        if last is not None and (life, packet) <= last:
            return  # sent twice, or by an actor that another one has replaced
        if not frame.key and last != (life, packet - 1):
            self.miss()
        if frame.key:
            self._since_key, self._bytes = [frame], len(frame.payload)
        elif self._since_key:
            self._since_key.append(frame)
            self._bytes += len(frame.payload)
            if len(self._since_key) > MOST_WAITING or self._bytes > MOST_WAITING_BYTES:
                self.forget()
        else:
            self._ask_key()
        self._offer(frame)

    def miss(self) -> None:
        super().miss()
        self.forget()
        self._ask_key()

    def forget(self) -> None:
        self._since_key, self._bytes = [], 0
