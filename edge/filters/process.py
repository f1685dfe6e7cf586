"""Asks a child process whether filters let events through, one slice at a time, with the principals in turn.

The evaluator is native code that holds the interpreter's lock, so a thread would keep the event loop waiting. The child
is started when it is first needed, runs at a lower priority and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import cast

import msgspec

from edge import metrics
from router.errors import Timeout

log = logging.getLogger(__name__)

# What one principal may ask before the next one has its turn: 64 events or 256 KiB, some 50 ms of the child's time.
SLICE_EVENTS = 64
SLICE_BYTES = 256 * 1024
# A slice that takes longer has been lost with its child.
TIMEOUT = 30.0
# A machine that has no room for a process may have it a moment later.
START_PAUSES = (0.2, 1.0, 2.0)
HEAD = 4
# What the child keeps converted: filters of one principal are mostly asked about the same events.
MAX_EVENTS = 512
MAX_BYTES = 16 * 1024 * 1024
CHILD = Path(__file__).with_name("child.py")


class FilterProcess:
    """The child process, and the requests that wait for it."""

    def __init__(self, argv: tuple[str, ...] = (sys.executable, "-P", str(CHILD)), timeout: float = TIMEOUT) -> None:
        self._argv = argv
        self._timeout = timeout
        self._pipes: _Pipes | None = None
        # Each principal waits once for its turn, whatever number of its sessions has something to ask.
        self._principals: weakref.WeakValueDictionary[str | None, asyncio.Lock] = weakref.WeakValueDictionary()
        self._turn = asyncio.Lock()

    async def ask(self, owner: str | None, text: str, payloads: list[bytes]) -> list[bool]:
        """Says of each stored event whether a filter lets it through. Raises Timeout.

        An event over which the child ends twice is not let through.
        """
        lock = self._principals.get(owner)
        if lock is None:
            lock = self._principals[owner] = asyncio.Lock()
        verdicts: list[bool] = []
        for some in _slices(payloads):
            async with lock, self._turn:
                verdicts += await self._ask_again(text, some)
        return verdicts

    async def close(self) -> None:
        """Ends the child."""
        pipes, self._pipes = self._pipes, None
        if pipes is not None:
            await pipes.close()

    async def _ask_again(self, text: str, payloads: list[bytes]) -> list[bool]:
        """Asks once more where the child was lost, event by event, so that one event costs no other its answer."""
        try:
            return await self._exchange(text, payloads)
        except Timeout:
            raise
        except (OSError, TimeoutError) as fault:
            log.warning(
                "the filter process was lost; a new one is started and asked again, event by event",
                extra={"fault": repr(fault), "filter": text[:200]},
            )
            metrics.filter_process_losses.inc()
            await self.close()
        verdicts: list[bool] = []
        for payload in payloads:
            try:
                verdicts += await self._exchange(text, [payload])
            except Timeout:
                raise
            except (OSError, TimeoutError) as fault:
                log.error(
                    "an event could not be filtered twice in a row; it is not shown",
                    extra={"fault": repr(fault), "filter": text[:200]},
                )
                await self.close()
                verdicts.append(False)
        return verdicts

    async def _exchange(self, text: str, payloads: list[bytes]) -> list[bool]:
        if self._pipes is None or self._pipes.lost:
            self._pipes = await self._started()
        async with asyncio.timeout(self._timeout):
            answer = await self._pipes.exchange(text, payloads)
        if len(answer) != len(payloads):
            raise OSError("the filter process answered something else")
        metrics.filters_offloaded.inc(len(payloads))
        return [bool(verdict) for verdict in answer]

    async def _started(self) -> _Pipes:
        """Starts the child. Raises Timeout where there is no room for a process, which says nothing of the event."""
        for pause in (*START_PAUSES, None):
            try:
                transport, pipes = await asyncio.get_running_loop().subprocess_exec(_Pipes, *self._argv, stderr=None)
            except OSError as fault:
                log.error("the filter process cannot be started; tried again a few times", extra={"fault": repr(fault)})
                if pause is not None:
                    await asyncio.sleep(pause)
            else:
                pipes.transport = transport
                return pipes
        raise Timeout("filters cannot be evaluated: no process can be started")


def _slices(payloads: list[bytes]) -> list[list[bytes]]:
    """Cuts what is asked into pieces that each take a bounded time."""
    slices: list[list[bytes]] = []
    size = 0
    for payload in payloads:
        if not slices or len(slices[-1]) == SLICE_EVENTS or size + len(payload) > SLICE_BYTES:
            slices.append([])
            size = 0
        slices[-1].append(payload)
        size += len(payload)
    return slices


class _Pipes(asyncio.SubprocessProtocol):
    """Both ends of the child's pipes. A request is framed by its length; its answer is one byte for each event.

    An event is sent once and named by its number then: what 100 filters of a principal look at goes through the pipe once.
    """

    def __init__(self) -> None:
        self._numbers: OrderedDict[bytes, int] = OrderedDict()
        self._bytes = 0
        self._newest = 0
        self.transport: asyncio.SubprocessTransport | None = None
        self.lost = False
        self._gone = asyncio.Event()
        self._received = bytearray()
        # In the order they were asked; the future of a caller that no longer waits is cancelled.
        self._asked: list[asyncio.Future[bytes]] = []

    def exchange(self, text: str, payloads: list[bytes]) -> asyncio.Future[bytes]:
        """Sends a request at once; the future is the child's answer. Raises OSError where the child has ended."""
        request = msgspec.msgpack.encode(self._request(text, payloads))
        assert self.transport is not None
        stdin = cast(asyncio.WriteTransport, self.transport.get_pipe_transport(0))
        try:
            stdin.write(len(request).to_bytes(HEAD, "big") + request)
        except RuntimeError:
            # As uvloop says it of a pipe whose end is told to this object only in the next turn of the loop.
            raise OSError("the filter process ended") from None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        return answer

    def _request(self, text: str, payloads: list[bytes]) -> tuple[str, list[int], list[bytes], list[int]]:
        """The filter, the events' numbers, those that are new, in the order of their numbers, and what to forget."""
        numbers: list[int] = []
        new: list[bytes] = []
        for payload in payloads:
            number = self._numbers.get(payload)
            if number is None:
                self._newest = number = self._newest + 1
                self._numbers[payload] = number
                self._bytes += len(payload)
                new.append(payload)
            self._numbers.move_to_end(payload)
            numbers.append(number)
        gone: list[int] = []
        most = max(MAX_EVENTS, len(payloads))
        while len(self._numbers) > most or (self._bytes > MAX_BYTES and len(self._numbers) > len(payloads)):
            payload, number = self._numbers.popitem(last=False)
            self._bytes -= len(payload)
            gone.append(number)
        return text, numbers, new, gone

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= HEAD and len(received) >= (end := HEAD + int.from_bytes(received[:HEAD], "big")):
            answer = bytes(received[HEAD:end])
            del received[:end]
            if self._asked and not (waiting := self._asked.pop(0)).done():
                waiting.set_result(answer)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._fail()

    def process_exited(self) -> None:
        self._fail()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()
        self._gone.set()

    async def close(self) -> None:
        """Ends the child and waits until it has ended."""
        self._fail()
        if self.transport is not None:
            # Kills it, where it has not ended by itself.
            self.transport.close()
            await self._gone.wait()

    def _fail(self) -> None:
        self.lost = True
        asked, self._asked = self._asked, []
        for waiting in asked:
            if not waiting.done():
                waiting.set_exception(OSError("the filter process ended"))
