"""Speaks gRPC to one Octane: the channel, the calls and their deadlines.

It knows both generations: Beta 2 says that there is an image, and the client grabs it; Alpha 5 sends it along.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from actors.octane.errors import CallFailed, CallUnanswered, Declined, Disconnected, Oversized, TooOld
from actors.octane.observations import CallAnswered, Observe
from protos import octane_project_pb2 as project
from protos import octane_render_pb2 as render
from protos import octane_types_pb2 as wire

logger = logging.getLogger(__name__)

Engine = render.ApiRenderEngine
# Runs a function in a thread: asyncio.to_thread, or an actor's offload.
Offload = Callable[..., Awaitable[Any]]

# 64 MiB: the limit of a real Octane. gRPC's own 4 MiB stops short of a 1024 x 1024 picture.
MAX_MESSAGE = 64 << 20

_OPTIONS = [
    # A channel to the same address would else inherit the backoff of the one before, of up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
    # Octane is on this machine or the next one; a proxy of the environment knows neither.
    ("grpc.enable_http_proxy", 0),
    # No keepalive pings: a server with gRPC's defaults closes connections that ping often. Statistics are the heartbeat.
]

# These codes mean that the connection is gone; any other code is an answer, or says that there was none in time.
_GONE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED})

# 2026.1 Alpha 5: the first with a callback stream that a client opens by one call.
OLDEST = 15_000_004
# 2026.1 Beta 2: from here on events say only that there is an image.
_NOTIFYING = 15_000_008
_GENERATIONS = {15_000_002: "2026.1 Alpha 3"}

_ENGINE = "/octaneapi.ApiRenderEngineService/"
_INFO = "/octaneapi.ApiInfoService/"
_PROJECT = "/octaneapi.ApiProjectManagerService/"
_STREAM = "/octaneapi.StreamCallbackService/callbackChannel"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How long an Octane may take. Seconds."""

    health_timeout: float = 5.0
    call_timeout: float = 10.0
    # An Octane waits for open calls before it quits, so a stream without an end would keep it from quitting.
    stream_lifetime: float = 60.0
    # Bytes; a larger answer is refused with RESOURCE_EXHAUSTED.
    max_message: int = MAX_MESSAGE
    # A call that waits this long, while no other is answered either, makes an Octane busy.
    patience: float = 1.2


@dataclass(frozen=True, slots=True)
class Identity:
    """Which Octane answers at the address."""

    name: str
    version: str
    simulated: bool
    # Whether images come along with their notifications, as those of Alpha 5 do.
    embeds: bool = False


@dataclass(frozen=True, slots=True)
class DeviceFault:
    """Why one device stopped rendering."""

    index: int
    name: str
    state: str
    error: str
    message: str


class OctaneClient:
    """One connection to an Octane; after Disconnected it is of no more use. Other errors leave it standing."""

    def __init__(
        self,
        address: str,
        settings: ClientSettings = ClientSettings(),
        offload: Offload = asyncio.to_thread,
        observe: Observe = lambda _: None,
    ) -> None:
        self.address = address
        self._settings = settings
        self._offload = offload
        self._observe = observe
        self._channel: grpc.aio.Channel | None = None
        self._waiting: dict[int, tuple[str, float]] = {}  # calls under way: name and when they began
        self._calls = itertools.count()
        self._answered_at = 0.0

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(
            self.address,
            options=[
                *_OPTIONS,
                ("grpc.max_receive_message_length", self._settings.max_message),
                ("grpc.max_send_message_length", self._settings.max_message),
            ],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    async def identify(self) -> Identity:
        """Asks for name and version, which is also the health check. Raises Disconnected, CallUnanswered or TooOld."""
        version, name = 0, ""
        timeout = self._settings.health_timeout
        try:
            version = (
                await self._call(
                    _INFO + "octaneVersion",
                    project.ApiInfo.octaneVersionRequest(),
                    project.ApiInfo.octaneVersionResponse,
                    timeout,
                )
            ).result
            name = (
                await self._call(
                    _INFO + "octaneName",
                    project.ApiInfo.octaneNameRequest(),
                    project.ApiInfo.octaneNameResponse,
                    timeout,
                )
            ).result
        except Declined as fault:
            # Some servers know no information service. They answered, and that is what counts.
            logger.info(
                "Octane did not identify itself; continuing without its name and version",
                extra={"address": self.address, "reason": str(fault)},
            )
        if 0 < version < OLDEST:
            raise TooOld(
                f"this is Octane {_GENERATIONS.get(version, _version(version))}; Callboard needs 2026.1 Alpha 5 or newer"
            )
        return Identity(
            name or "Octane", _version(version), "callboard simulator" in name.lower(), OLDEST <= version < _NOTIFYING
        )

    @property
    def connected(self) -> bool:
        """Says whether the connection itself stands, whatever became of a call."""
        ready = grpc.ChannelConnectivity.READY
        return self._channel is not None and self._channel.get_state() is ready

    @property
    def stream_lifetime(self) -> float:
        """After how many seconds the callback stream is opened anew."""
        return self._settings.stream_lifetime

    def open_stream(self) -> Any:
        """Opens the callback stream; events come as bytes, since they tell two generations of the wire apart."""
        method = self._connected().unary_stream(
            _STREAM, request_serializer=Empty.SerializeToString, response_deserializer=bytes
        )
        return method(Empty(), timeout=self._settings.stream_lifetime)

    async def grab(self) -> list[wire.ApiRenderImage]:
        """Fetches the newest pictures and gives their buffers back at once; none before the first sample."""
        answer = await self._call(
            _ENGINE + "grabRenderResult", Engine.grabRenderResultRequest(), Engine.grabRenderResultResponse, large=True
        )
        if not answer.result:
            return []
        # What arrived is a copy, so Octane's own can go before ours is used.
        await self._tolerate("releaseRenderResult", Engine.releaseRenderResultRequest(), Empty)
        return list(answer.renderImages.data)

    async def statistics(self) -> wire.RenderResultStatistics:
        """Asks how far the render is."""
        answer = await self._call(
            _ENGINE + "getRenderStatistics", Engine.getRenderStatisticsRequest(), Engine.getRenderStatisticsResponse
        )
        statistics: wire.RenderResultStatistics = answer.statistics
        return statistics

    async def current_project(self) -> str:
        """The path of the open project; empty if it has none, or the server does not say."""
        try:
            answer = await self._call(
                _PROJECT + "getCurrentProject",
                project.ApiProjectManager.getCurrentProjectRequest(),
                project.ApiProjectManager.getCurrentProjectResponse,
            )
        except CallFailed:
            return ""
        return str(answer.result)

    async def device_faults(self) -> list[DeviceFault]:
        """Asks each device why it failed; the event of a failure does not say."""
        try:
            count = (
                await self._call(
                    _ENGINE + "getDeviceCount", Engine.getDeviceCountRequest(), Engine.getDeviceCountResponse
                )
            ).result
            # 64: more devices than one machine holds; the number comes from outside.
            faults = [await self._device_fault(index) for index in range(min(count, 64))]
        except CallFailed as fault:
            logger.info(
                "Octane's device errors could not be read", extra={"address": self.address, "reason": str(fault)}
            )
            return []
        failed = wire.RenderDeviceState.Name(wire.RENDER_DEVICE_STATE_ACTIVE_FAILED)
        return [
            fault for fault in faults if fault.error != "none" or fault.state == _plain(failed, "RENDER_DEVICE_STATE_")
        ]

    async def _device_fault(self, index: int) -> DeviceFault:
        async def ask(name: str, **fields: int) -> Any:
            request = getattr(Engine, f"{name}Request")(**fields)
            return (await self._call(_ENGINE + name, request, getattr(Engine, f"{name}Response"))).result

        state, error = (
            await ask("renderDeviceState", deviceIx=index),
            await ask("renderDeviceErrorCode", deviceIx=index),
        )
        return DeviceFault(
            index=index,
            name=await ask("getDeviceName", index=index),
            state=enum_name(wire.RenderDeviceState, state, "RENDER_DEVICE_STATE_"),
            error=enum_name(wire.RenderError, error, "RENDER_ERROR_"),
            message=await ask("renderDeviceErrorMessage", deviceIx=index)
            or (await ask("errorcodeToString", code=error) if error else ""),
        )

    async def engine(self, rpc: str, **fields: Any) -> Any:
        """Makes a call of ApiRenderEngineService: `rpc` is its name, `fields` those of its request.

        Raises Declined where Octane refuses, and Disconnected where none answers.
        """
        request = getattr(Engine, f"{rpc}Request")(**fields)
        return await self._call(_ENGINE + rpc, request, getattr(Engine, f"{rpc}Response", Empty))

    async def call(self, path: str, request: Any, response: Any) -> Any:
        """Makes a call of any service. Raises Declined where Octane refuses, and Disconnected where none answers."""
        return await self._call(path, request, response)

    def overdue(self) -> tuple[str, float] | None:
        """The call that has waited longest, and for how many seconds; None while Octane answers anything.

        A grab may take long because its answer is large, so it does not count.
        """
        now = time.monotonic()
        name, begun = min(self._waiting.values(), key=lambda call: call[1], default=("", now))
        waited = now - max(begun, self._answered_at)
        return (name, waited) if waited >= self._settings.patience else None

    async def _tolerate(self, name: str, request: Any, response: Any) -> None:
        """Makes a call of the render engine whose refusal changes nothing."""
        try:
            await self._call(_ENGINE + name, request, response)
        except CallFailed as fault:
            logger.info("Octane refused a call", extra={"call": name, "reason": str(fault), "address": self.address})

    async def _call(
        self, path: str, request: Any, response: Any, timeout: float | None = None, *, large: bool = False
    ) -> Any:
        """Makes one call. Raises Disconnected, Declined or CallUnanswered; a large answer is parsed in a thread."""
        method = self._connected().unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=bytes
        )
        name, number = path[path.rindex("/") + 1 :], next(self._calls)
        if not large:
            self._waiting[number] = (name, time.monotonic())
        try:
            payload = await method(request, timeout=timeout or self._settings.call_timeout)
        except grpc.aio.AioRpcError as fault:
            meaning = _meaning(fault, name)
            if isinstance(meaning, Declined):
                self._heard()
            raise meaning from None
        except asyncio.CancelledError:
            raise_cancellation()
        except grpc.aio.UsageError:
            raise Disconnected("the connection was closed") from None
        finally:
            self._waiting.pop(number, None)
        self._heard()
        try:
            return await self._offload(response.FromString, payload) if large else response.FromString(payload)
        except DecodeError:
            raise Declined(f"{name} answered something that is not its message") from None

    def _heard(self) -> None:
        """Takes note of an answer, be it an error."""
        self._answered_at = time.monotonic()
        self._observe(CallAnswered())

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise Disconnected("the connection was closed")
        return self._channel


def enum_name(enum: Any, value: int, prefix: str) -> str:
    """The name of an enum's value in lower case without its prefix; the number where it has none here."""
    try:
        return _plain(enum.Name(value), prefix)
    except ValueError:
        return str(value)


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _version(number: int) -> str:
    """Octane's version number as people write it."""
    if number <= 0:
        return ""
    return f"{number // 1_000_000}.{number // 10_000 % 100}.{number // 100 % 100}.{number % 100}"


def _meaning(fault: grpc.aio.AioRpcError, call: str) -> Disconnected | CallFailed:
    """What a failed call says about the Octane."""
    code, text = fault.code(), (fault.details() or fault.code().name.lower())[:300]
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CallUnanswered(f"{call} was not answered in time")
    if code in _GONE:
        return Disconnected(text)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Oversized(f"the answer is larger than one message may be: {text}")
    return Declined(f"{code.name.lower()}: {text}")


def raise_cancellation() -> NoReturn:
    """Tells the two reasons of a CancelledError apart: gRPC raises it, too, where another task closed the channel.

    Raises CancelledError or Disconnected.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    raise Disconnected("the connection was closed")
