"""What one viewer is sent of an H.264 rung as MP4: the init segment where it is new to the viewer, and fragments from a key on."""

from __future__ import annotations

from collections.abc import Sequence

from edge.transports.video.frame import Frame


class Mp4Messages:
    """The messages of one WebSocket. Their bytes are shared by all viewers, on the timeline of the capture clock."""

    def __init__(self) -> None:
        self._init: bytes | None = None

    def of(self, frame: Frame) -> Sequence[bytes]:
        """The messages of one picture; none before the first key. Raises BadAccessUnit."""
        made = frame.fragment
        if self._init is None and made.init is None:
            return ()
        init, message = frame.mp4_messages
        if init is None or made.init == self._init:
            return (message,)
        self._init = made.init
        return (init, message)


class Mp4File:
    """The bytes of one progressive download, on a timeline that begins at 0 and never goes back."""

    def __init__(self) -> None:
        self._init: bytes | None = None
        self._offset = 0
        self._last = -1

    def of(self, frame: Frame) -> bytes | None:
        """The bytes of one picture; empty before the first key. None where the file ends here. Raises BadAccessUnit.

        A file has one init segment, so a picture of another size or encoder belongs into another file.
        """
        made = frame.fragment
        if self._init is None:
            if made.init is None:
                return b""
            self._init, self._offset = made.init, made.time
        elif made.init is not None and made.init != self._init:
            return None
        # 1: the capture clock may be set back.
        time = max(made.time - self._offset, self._last + 1)
        self._offset = made.time - time
        began, self._last = self._last < 0, time
        return self._init + made.at(time) if began else made.at(time)
