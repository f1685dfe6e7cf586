"""The event loop of the tests: uvloop's, which tells what a test has left open instead of failing to close."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import uvloop


class StrictLoop(uvloop.Loop):
    """uvloop's loop. Where sockets or servers are still open when it closes, it closes them and raises ResourceWarning.

    With warnings as errors, uvloop's own loop leaves such a handle open: it then waits for it for ever, or closes with EBUSY,
    and the warning comes up in whichever test runs when the handle is collected.
    """

    def close(self) -> None:
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always")
            super().close()
        if found := [str(warning.message) for warning in left if issubclass(warning.category, ResourceWarning)]:
            raise ResourceWarning("; ".join([*found, *_forget_streams(self)]))


def _forget_streams(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The peers of streams that nobody has closed, and what was not read of them; they do not warn again when collected."""
    found = []
    for each in gc.get_objects():
        if type(each) is asyncio.StreamWriter:
            writer: Any = each
            if writer._loop is loop and not writer.is_closing():
                unread = bytes(writer._reader._buffer)[:200] if writer._reader else b""
                found.append(f"a stream to {writer.get_extra_info('peername')} with {unread!r} unread")
                writer._transport = _Closed()
    return found


class _Closed:
    def is_closing(self) -> bool:
        return True
