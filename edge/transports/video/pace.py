"""The pace of a viewer that does not say what it has shown: a picture each so many seconds, which follows how fast it reads."""

from __future__ import annotations

# Pictures that the client's kernel seems to hold, above which the client counts as behind.
MANY_UNREAD = 0.75
LEAST_INTERVAL, MOST_INTERVAL = 0.01, 2.0
# Of a picture, what the client must have read to count as reading.
READ_SHARE = 0.1
# Of a client of which nothing is known yet, so that a slow one does not begin with a second of pictures in its buffers.
FIRST_INTERVAL = 0.1
# The interval grows with each picture while the client is behind, the more the more it has not read, and up to so many times
# what it takes to read one; it shrinks with each otherwise, so that a client that has become quicker is sent more.
GROWS, MOST_GROWTH, SHRINKS = 0.3, 2.0, 0.95


class ReadPace:
    """When the next picture is due. Times are of the event loop's clock; unread bytes are given in pictures.

    The client's kernel says what was read only when it is sent something, and not all of it (its buffer grows as it reads),
    so what is unread shows whether the client is behind, and the interval makes it catch up.
    """

    def __init__(self) -> None:
        self.interval = FIRST_INTERVAL
        self._wrote = float("-inf")
        # Whether the last picture took longer to leave than the interval.
        self._blocked = False
        # Since the client is behind: when that began, what was unread then, and how many pictures were sent.
        self._since: float | None = None
        # What was unread before the last picture.
        self._before = 0.0
        self._unread = 0.0
        self._sent = 0

    def due(self, now: float) -> float:
        """Seconds until the next picture may be sent; 0 or less where that is now."""
        return self._wrote + self.interval - now

    def sent(self, now: float, unread: float) -> bool:
        """Notes that a picture was sent, and what was unread before it; says whether the client has read since the last one."""
        has_read = unread < self._before + 1 - READ_SHARE
        self._before = unread
        if unread >= MANY_UNREAD or self._blocked:
            self._fall_behind(now, unread)
        else:
            self._catch_up(now, unread)
        self._wrote, self._blocked = now, False
        return has_read

    def left(self, now: float) -> None:
        """Notes that what was written has left this process."""
        self._blocked = now - self._wrote > self.interval

    def _fall_behind(self, now: float, unread: float) -> None:
        if self._since is None:
            self._since, self._unread, self._sent = now, unread, 0
        most = MOST_INTERVAL
        if (took := self._reading(now, unread)) is not None:
            most = min(most, MOST_GROWTH * took)
        grown = self.interval * (1 + GROWS * min(3.0, max(1.0, unread)))
        self.interval = max(LEAST_INTERVAL, min(grown, most))
        self._sent += 1

    def _catch_up(self, now: float, unread: float) -> None:
        if self._since is not None:
            took = self._reading(now, unread)
            if took is not None:
                self.interval = min(self.interval, took)
            self._since = None
        self.interval = max(LEAST_INTERVAL, self.interval * SHRINKS)

    def _reading(self, now: float, unread: float) -> float | None:
        """Seconds that the client took to read each picture since it is behind; None where it is too early to say."""
        assert self._since is not None
        read = self._sent + self._unread - unread
        return (now - self._since) / read if read >= 1 else None
