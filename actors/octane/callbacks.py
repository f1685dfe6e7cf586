"""Holds an Octane's callback stream open, and the one slot in which it keeps who is called back."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from actors.octane.client import Engine, OctaneClient, raise_cancellation
from actors.octane.errors import CallFailed, Disconnected
from actors.octane.observations import (
    STREAM,
    Observe,
    PictureOversized,
    ServiceRefused,
    SlotAsked,
    StreamEnded,
    StreamHeld,
)
from protos import octane_stream_alpha_pb2 as alpha
from protos import octane_stream_pb2 as stream
from protos import octane_types_pb2 as wire

logger = logging.getLogger(__name__)

# Who asks to be called back: one name and number for each process, so that another Callboard's are told apart.
CALLBACK_SOURCE = f"callboard-{secrets.token_hex(4)}"
CALLBACK_ID = secrets.randbelow(1 << 30) + 1
USER_DATA = secrets.randbits(62) | 1

# A stream open this long without an error is held: a server with nothing to say sends no headers either. Seconds.
HELD_AFTER = 1.0
# Streams in a row that end sooner than this, and bring nothing, are refused; who takes the slot needs longer. Seconds.
AT_ONCE = 0.4
# A stream that lasted this long ended for once; sooner, and the next one waits. Seconds.
LASTING = 5.0
# The longest wait before a stream is opened again that was refused, or that somebody else took, in seconds; pictures are
# fetched by statistics meanwhile.
LONGEST_PAUSE, LONGEST_AFTER_LOSS = 30.0, 8.0

# How a server ends the stream of a client whose registration another has taken, and how it ends streams at all.
_TAKEN = frozenset({grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED})
_EXPECTED = _TAKEN | {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class CallbackKind(Enum):
    """What an event of the callback stream is about."""

    NEW_IMAGE = "newImage"
    RENDER_FAILURE = "renderFailure"
    NEW_STATISTICS = "newStatistics"
    PROJECT_CHANGED = "projectManagerChanged"
    OPENED = "opened"  # ours: the stream is open, anew or for the first time; what happened meanwhile went unseen


@dataclass(frozen=True, slots=True)
class CallbackNotice:
    """One event of the callback stream, with the images if they came along."""

    kind: CallbackKind
    images: Sequence[wire.ApiRenderImage] = ()
    user_data: int = 0  # of who is called back; 0 where the server does not say


class CallbackRegistration:
    """The registration of callbacks. Octane keeps one of each kind, and the newest takes it."""

    KINDS = ("NewImage", "NewStatistics", "RenderFailure")

    def __init__(self, client: OctaneClient, observe: Observe) -> None:
        self._client, self._observe = client, observe
        self._held: set[str] = set()

    async def ask(self, *, images: bool = True) -> bool:
        """Registers all callbacks, and says whether any is held. Some servers refuse and call back anyway: no error.

        Without `images` that callback is given back, if it is ours.
        """
        self._held.discard("NewImage") if images else await self._give_back("NewImage")
        for kind in self.KINDS if images else self.KINDS[1:]:
            callback = callback_message(kind)
            try:
                await self._client.engine(f"setOn{kind}Callback", callback=callback, userData=USER_DATA)
                self._held.add(kind)
            except CallFailed as fault:
                logger.info(
                    "Octane refused to register a callback; continuing without it",
                    extra={"callback": kind, "reason": str(fault), "address": self._client.address},
                )
        self._observe(SlotAsked("NewImage" in self._held))
        return bool(self._held)

    def told(self, notice: CallbackNotice) -> None:
        """Takes note of who a notification was for: with another's number in it, the slots are that one's."""
        if notice.user_data not in (0, USER_DATA):
            self._held.clear()

    def lost(self) -> None:
        """Takes note that Octane has forgotten the registrations."""
        self._held.clear()

    async def leave(self) -> None:
        """Takes back what is known to be ours, in a second at most; the Octane may be gone already."""
        try:
            async with asyncio.timeout(1.0):
                for kind in self.KINDS:
                    await self._give_back(kind)
        except (Disconnected, TimeoutError):
            pass

    async def _give_back(self, kind: str) -> None:
        """Takes one registration back, unless somebody else may have it: that would take away theirs."""
        if kind not in self._held:
            return
        self._held.discard(kind)
        try:
            await self._client.engine(f"setOn{kind}Callback")
        except CallFailed as fault:
            logger.info("Octane refused to take a callback back", extra={"callback": kind, "reason": str(fault)})


def callback_message(kind: str) -> Any:
    """The message that names who is called back."""
    callback = type(getattr(Engine, f"setOn{kind}CallbackRequest")().callback)
    return callback(callbackSource=CALLBACK_SOURCE, callbackId=CALLBACK_ID)


class CallbackStream:
    """The callback stream of one connection, opened again whenever it ends."""

    def __init__(
        self, client: OctaneClient, observe: Observe, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client, self._observe, self._sleep = client, observe, sleep
        self._short = 0  # how many streams in a row ended soon
        self._mute = 0  # how many streams in a row ended before they served for anything
        self._call: Any = None
        self._served = False  # whether the newest stream was open when a registration had been accepted
        self._refused = False
        self._refusals = 0  # how many streams in a row were refused

    async def notices(self) -> AsyncGenerator[CallbackNotice, None]:
        """What comes on the stream. Raises Disconnected where the connection is gone; any other end is waited out."""
        loop = asyncio.get_running_loop()
        while True:
            opened = loop.time()
            call = self._call = self._client.open_stream()
            self._served = False
            # After refusals in a row a moment is not enough: a server that refuses late would be connected each time.
            held = loop.call_later(LASTING if self._refusals > 1 else HELD_AFTER, self._hold)
            fault: grpc.aio.AioRpcError | None = None
            heard = False
            try:
                yield CallbackNotice(CallbackKind.OPENED)
                async for payload in call:
                    heard = True
                    if not self._refused and not held.cancelled():
                        held.cancel()
                        self._hold()
                    if (notice := read_notice(payload)) is not None:
                        yield notice
            except grpc.aio.AioRpcError as ended:
                fault = ended
            except asyncio.CancelledError:
                raise_cancellation()
            finally:
                held.cancel()
                call.cancel()
            self._mute = 0 if heard or self._served else self._mute + 1
            await self._sleep(self._ended(fault, loop.time() - opened))

    def registered(self) -> None:
        """Takes note that Octane accepted a registration: a stream that is still open was not refused.

        A paused render has nothing to say, so a stream that another client takes may end before any event has come.
        """
        self._served = self._served or (self._call is not None and not self._call.done())

    def _hold(self) -> None:
        self._refused = False
        self._observe(StreamHeld())

    def _refuse(self, reason: str) -> None:
        self._refused = True
        self._refusals += 1
        self._observe(ServiceRefused(STREAM, reason))

    def _ended(self, fault: grpc.aio.AioRpcError | None, lasted: float) -> float:
        """Says why the stream ended, and how long to wait before the next one. Raises Disconnected."""
        code = fault.code() if fault is not None else grpc.StatusCode.OK
        text = ((fault.details() if fault is not None else "") or code.name.lower())[:300]
        if code is grpc.StatusCode.UNAVAILABLE and not self._client.connected:
            raise Disconnected(text)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and lasted >= 0.9 * self._client.stream_lifetime:
            # Our own limit. The registrations stay, or go: they are made again with each stream.
            return 0.0
        if lasted >= LASTING:
            self._short = self._refusals = 0
        else:
            self._short += 1
        pause = min(LONGEST_AFTER_LOSS, 0.25 * 2.0 ** min(self._short, 8))
        self._observe(StreamEnded(taken=code in _TAKEN))
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._observe(PictureOversized(f"a picture is larger than one message may be: {text}"))
        elif code not in _EXPECTED:
            self._refuse(f"{code.name.lower()}: {text}")
            pause = min(LONGEST_PAUSE, 2.0 ** min(self._refusals - 1, 8))
        elif min(self._short, self._mute) >= 4 and lasted < AT_ONCE:
            # One that brought something, or outlasted a registration, was not refused: another client takes the slot.
            self._refuse(f"it is closed as soon as it is open ({text})")
            pause = min(LONGEST_PAUSE, 0.25 * 2.0 ** min(self._short, 8))
        logger.info(
            "Octane ended the callback stream; opening it again",
            extra={"address": self._client.address, "code": code.name, "reason": text, "seconds": round(pause, 2)},
        )
        return pause


def read_notice(payload: bytes) -> CallbackNotice | None:
    """Reads one event of either generation; None for one that is no event, or of a kind unknown here."""
    # Alpha 5's message reads Beta 2's events too: only the user data differs. The other way round the images would
    # pass unseen, as unknown fields.
    try:
        event = alpha.StreamCallbackRequestAlpha.FromString(payload)
    except DecodeError:
        return None
    name = event.WhichOneof("payload")
    if name is None:
        return None
    images = tuple(event.newImage.render_images.data)
    # Beta 2 has the user data in another field; an event of Alpha 5 read as Beta 2's has none.
    told = event if images else stream.StreamCallbackRequest.FromString(payload)
    return CallbackNotice(CallbackKind(name), images, getattr(event, name).user_data or getattr(told, name).user_data)
