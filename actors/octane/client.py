"""Speaks gRPC to one Octane: the channel, the calls and their deadlines.

It knows both generations: Beta 2 says that there is an image, and the client grabs it; Alpha 5 sends it along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from actors.octane.errors import Declined, Disconnected
from protos import octane_project_pb2 as project
from protos import octane_render_pb2 as render
from protos import octane_stream_alpha_pb2 as alpha
from protos import octane_types_pb2 as wire

logger = logging.getLogger(__name__)

Engine = render.ApiRenderEngine
# Runs a function in a thread: asyncio.to_thread, or an actor's offload.
Offload = Callable[..., Awaitable[Any]]

# 64 MiB: the limit of a real Octane. gRPC's own 4 MiB stops short of a 1024 x 1024 picture.
MAX_MESSAGE = 64 << 20

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A channel to the same address would else inherit the backoff of the one before, of up to two minutes.
    ("grpc.use_local_subchannel_pool", 1),
    # Octane is on this machine or the next one; a proxy of the environment knows neither.
    ("grpc.enable_http_proxy", 0),
    # No keepalive pings: a server with gRPC's defaults closes connections that ping often. Statistics are the heartbeat.
]

# These codes mean that no Octane is there; any other code is an answer.
_GONE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.ABORTED}
)

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
    # A stream that ends by itself sooner than this is a server going away, not one that tidies up.
    stream_shortest: float = 1.0


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


@dataclass(frozen=True, slots=True)
class Identity:
    """Which Octane answers at the address."""

    name: str
    version: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class DeviceFault:
    """Why one device stopped rendering."""

    index: int
    name: str
    state: str
    error: str
    message: str


class OctaneClient:
    """One connection to an Octane; after Disconnected it is of no more use."""

    def __init__(
        self, address: str, settings: ClientSettings = ClientSettings(), offload: Offload = asyncio.to_thread
    ) -> None:
        self.address = address
        self._settings = settings
        self._offload = offload
        self._channel: grpc.aio.Channel | None = None
        self._registered = False

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._registered and not isinstance(fault, Disconnected):
                await self.unregister()
        finally:
            channel, self._channel = self._channel, None
            if channel is not None:
                await channel.close(None)

    async def identify(self) -> Identity:
        """Asks for name and version, which is also the health check. Raises Disconnected."""
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
        return Identity(name or "Octane", _version(version), "callboard simulator" in name.lower())

    async def register(self) -> None:
        """Asks for callbacks. Some servers refuse and call back anyway, so a refusal is not an error."""
        self._registered = True
        for kind in ("NewImage", "NewStatistics", "RenderFailure"):
            request = getattr(Engine, f"setOn{kind}CallbackRequest")()
            request.callback.callbackSource, request.callback.callbackId = "grpc", 1
            await self._tolerate(f"setOn{kind}Callback", request, getattr(Engine, f"setOn{kind}CallbackResponse"))

    async def unregister(self) -> None:
        """Takes the registrations back, in a second at most; the Octane may be gone already."""
        self._registered = False
        try:
            async with asyncio.timeout(1.0):
                for kind in ("NewImage", "NewStatistics", "RenderFailure"):
                    request = getattr(Engine, f"setOn{kind}CallbackRequest")()
                    await self._tolerate(
                        f"setOn{kind}Callback", request, getattr(Engine, f"setOn{kind}CallbackResponse")
                    )
        except (Disconnected, TimeoutError):
            pass

    async def tone_map(self) -> None:
        """Asks for pictures of 8 bits in sRGB: Octane sends float pictures with three quarters missing."""
        request = Engine.setAsyncTonemapParams1Request(
            bufferType=wire.TONEMAP_BUFFER_TYPE_LDR, colorSpace=wire.NAMED_COLOR_SPACE_SRGB
        )
        await self._tolerate("setAsyncTonemapParams1", request, Empty)

    async def signals(self) -> AsyncGenerator[CallbackNotice, None]:
        """The callback stream, opened again whenever its time is up. Raises Disconnected."""
        opened = 0.0
        while True:
            opened = time.monotonic()
            call = self._open()
            try:
                # A server with nothing to say sends no headers either, so there is no waiting for them.
                yield CallbackNotice(CallbackKind.OPENED)
                async for payload in call:
                    if (signal := read_signal(payload)) is not None:
                        yield signal
            except grpc.aio.AioRpcError as fault:
                if fault.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise _meaning(fault) from None
            except asyncio.CancelledError:
                _raise_if_ours()
            finally:
                call.cancel()
            if time.monotonic() - opened < self._settings.stream_shortest:
                raise Disconnected("octane closed the callback stream")

    def _open(self) -> Any:
        """Starts one callback stream; events are read as bytes, since they tell two generations of the wire apart."""
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
        except Declined:
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
        except Declined as fault:
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

    async def _tolerate(self, name: str, request: Any, response: Any) -> None:
        """Makes a call of the render engine whose refusal changes nothing."""
        try:
            await self._call(_ENGINE + name, request, response)
        except Declined as fault:
            logger.info("Octane refused a call", extra={"call": name, "reason": str(fault), "address": self.address})

    async def _call(
        self, path: str, request: Any, response: Any, timeout: float | None = None, *, large: bool = False
    ) -> Any:
        """Makes one call. Raises Disconnected or Declined; a large answer is parsed in a thread."""
        method = self._connected().unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=bytes
        )
        try:
            payload = await method(request, timeout=timeout or self._settings.call_timeout)
        except grpc.aio.AioRpcError as fault:
            raise _meaning(fault) from None
        except asyncio.CancelledError:
            _raise_if_ours()
        except grpc.aio.UsageError:
            raise Disconnected("the connection was closed") from None
        try:
            return await self._offload(response.FromString, payload) if large else response.FromString(payload)
        except DecodeError:
            raise Declined(f"{path[path.rindex('/') + 1 :]} answered something that is not its message") from None

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise Disconnected("the connection was closed")
        return self._channel


def read_signal(payload: bytes) -> CallbackNotice | None:
    """Reads one event of either generation; None for one that is no event, or of a kind unknown here."""
    # Alpha 5's message reads Beta 2's events too: only the user data differs, and that is not used. The other way round
    # the images would pass unseen, as unknown fields.
    try:
        event = alpha.StreamCallbackRequestAlpha.FromString(payload)
    except DecodeError:
        return None
    name = event.WhichOneof("payload")
    return CallbackNotice(CallbackKind(name), tuple(event.newImage.render_images.data)) if name is not None else None


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


def _meaning(fault: grpc.aio.AioRpcError) -> Disconnected | Declined:
    """What a failed call says about the Octane."""
    text = (fault.details() or fault.code().name.lower())[:300]
    return Disconnected(text) if fault.code() in _GONE else Declined(f"{fault.code().name.lower()}: {text}")


def _raise_if_ours() -> NoReturn:
    """Tells the two reasons of a CancelledError apart: gRPC raises it, too, where another task closed the channel."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    raise Disconnected("the connection was closed")
