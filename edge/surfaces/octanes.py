"""The HTTP addresses of octaneWebR's clients: whether an Octane is connected, what was sent of its callbacks, and no gRPC gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from edge.dialects.viewport import CALLBACK_ID
from edge.errors import Problem
from edge.http.body import edge_of, json_answer, read_query
from edge.http.commands import PING_SECONDS
from edge.http.credentials import principal_of
from edge.http.openapi.operation import Answer, operation
from edge.runtime import Edge
from edge.surfaces.surface import CallSurface, Surface
from router.codec import rfc3339
from router.errors import NoResponders, Timeout
from router.record import Record
from router.subject import escape, unescape

DEFAULT_OCTANE = "main"


async def _states(edge: Edge, octane: str = "*") -> dict[str, Record]:
    """The newest state of each Octane that has ever been there."""
    tokens = octane if octane == "*" else escape(octane)
    found = await edge.broker.latest([f"octane.{tokens}.state"])
    return {unescape(record.event.subject.entity): record for record in found if record.event is not None}


async def which_octane(connection: HTTPConnection, asked: str | None) -> str:
    """The Octane that a request is about; one of those that are granted, where it names none. Raises Problem for an unknown one."""
    states = await _states(edge_of(connection), asked or "*")
    if asked is None:
        grants = principal_of(connection.scope).grants
        granted = [name for name, record in states.items() if grants.may_read(record.subject)]
        return DEFAULT_OCTANE if DEFAULT_OCTANE in granted or not granted else min(granted)
    if asked not in states:
        raise Problem("octane_not_found", f"no octane is known as {asked[:60]!r}")
    return asked


# Whether there is an Octane


class OctaneQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which Octane."""

    octane: Annotated[
        str | None, Meta(description="Which Octane; `main`, or the first one there is, where it is not said.")
    ] = None


class OctaneHealthAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Whether an Octane is connected, as octaneWebR's client asks before it opens its WebSocket; why not is in `reason`."""

    status: Literal["ok", "unhealthy"]
    octane: Literal["connected", "disconnected"]
    server: Literal["callboard"]
    timestamp: str
    id: str
    state: str
    reason: str | None = None
    name: str | None = None
    version: str | None = None
    picture: Annotated[str | None, Meta(description="`live`, `stale` or `unreadable`.")] = None
    simulated: bool = False


class CallbackStatusAnswer(msgspec.Struct, kw_only=True):
    """What the replica that answers has served of an Octane's callbacks."""

    stream_active: Annotated[bool, Meta(description="Whether the Octane is connected.")]
    callback_id: int
    callback_count: Annotated[int, Meta(description="Pictures that were sent to clients.")]
    last_callback_time: Annotated[float | None, Meta(description="Of the last one, in seconds since the epoch.")]
    stream_errors: Annotated[int, Meta(description="Pictures that could not be decoded.")]
    active_clients: int
    total_clients: int
    queue_size: Annotated[int, Meta(description="Always 0: a client that is too slow gets the newest picture next.")]


async def _condition(edge: Edge, octane: str) -> tuple[str, Mapping[str, Any]]:
    """What is the case with an Octane, and all that its actor says of it."""
    record = (await _states(edge, octane)).get(octane)
    if record is None or record.event is None:
        return "absent", {"reason": f"no actor has said anything of an octane {octane!r}"}
    data = record.event.data
    try:
        await edge.broker.connection.ask("$SRV.PING.octane", b"", timeout=PING_SECONDS)
    except (NoResponders, Timeout):
        return "absent", {**data, "reason": "no octane actor runs: what it said last may be over"}
    return str(data.get("status")), data


async def _named(request: Request) -> str:
    octane = await which_octane(request, read_query(request, OctaneQuery).octane)
    principal_of(request.scope).require_read(f"octane.{escape(octane)}.state")
    return octane


@operation(
    "Read whether an Octane is connected, as octaneWebR's client asks; 200 in any case, so that it opens its WebSocket and waits",
    Answer(200, "`ok` where it is connected, else `unhealthy` and why", OctaneHealthAnswer),
    query=OctaneQuery,
    problems=("not_granted", "octane_not_found"),
)
async def read_octane_health(request: Request) -> Response:
    octane = await _named(request)
    status, said = await _condition(edge_of(request), octane)
    connected = status == "connected"
    return json_answer(
        OctaneHealthAnswer(
            status="ok" if connected else "unhealthy",
            octane="connected" if connected else "disconnected",
            server="callboard",
            timestamp=rfc3339(time.time_ns()),
            id=octane,
            state=status,
            reason=_text(said.get("reason")),
            name=_text(said.get("name")),
            version=_text(said.get("version")),
            picture=_text(said.get("picture")),
            simulated=said.get("simulated") is True,
        )
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


@operation(
    "Read what was sent of an Octane's callbacks, as octaneWebR's Python server answers it",
    Answer(200, "The counts of the replica that answers", CallbackStatusAnswer),
    query=OctaneQuery,
    problems=("not_granted", "octane_not_found"),
)
async def read_callback_status(request: Request) -> Response:
    edge = edge_of(request)
    octane = await _named(request)
    status, _ = await _condition(edge, octane)
    counts = edge.pixels.counts(octane)
    return json_answer(
        CallbackStatusAnswer(
            stream_active=status == "connected",
            callback_id=CALLBACK_ID,
            callback_count=counts.pictures,
            last_callback_time=counts.last / 1000 if counts.last else None,
            stream_errors=counts.unreadable,
            active_clients=counts.clients,
            total_clients=counts.clients_ever,
            queue_size=0,
        )
    )


# What there is not

# What one may ask instead of a method of Octane's, of the commands of an Octane or of other addresses.
INSTEAD: Mapping[str, str] = {
    "ApiRenderEngine/continueRendering": "start",
    "ApiRenderEngine/pauseRendering": "pause",
    "ApiRenderEngine/stopRendering": "stop",
    "ApiRenderEngine/restartRendering": "restart",
    "ApiRenderEngine/setRenderPriority": "set_priority",
    "ApiRenderEngine/setSubSampleMode": "set_sub_sampling",
    "ApiRenderEngine/setClayMode": "set_clay_mode",
    "ApiRenderEngine/setRenderRegion": "set_region",
    "ApiRenderEngine/setAsyncTonemapRenderPasses": "set_passes",
    "ApiRenderEngine/pick": "pick",
    "ApiRenderEngine/pickWhitePoint": "pick",
    "ApiRenderEngine/saveImage": "save_image",
    "ApiRenderEngine/saveImage1": "save_image",
    "ApiRenderEngine/isCompiling": "is_compiling",
    "ApiRenderEngine/getDeviceName": "device_statistics",
    "ApiRenderEngine/getMemoryUsage": "device_statistics",
    "ApiRenderEngine/getResourceStatistics": "resource_statistics",
    "ApiRenderEngine/getGeometryStatistics": "geometry_statistics",
    "ApiRenderEngine/getTexturesStatistics": "texture_statistics",
    "LiveLink/GetCamera": "get_camera",
    "LiveLink/SetCamera": "set_camera",
}


@operation(
    "There is no general gRPC gateway: answers 404, and says which command there is instead",
    problems=("no_grpc_gateway",),
    store=False,
)
async def refuse_grpc(request: Request) -> Response:
    service, method = (request.path_params[name][:60] for name in ("service", "method"))
    command = INSTEAD.get(f"{service.removesuffix('Service')}/{method}")
    instead = f"POST /commands/octane/{DEFAULT_OCTANE}/{command}" if command else "the commands of GET /commands"
    detail = f"there is no general gRPC gateway here; {service}.{method} is not forwarded: use {instead}"
    # As that client reads it.
    raise Problem("no_grpc_gateway", detail, error=detail, service=service, method=method)


ROWS: tuple[Surface, ...] = (
    CallSurface(path="/api/health", handler=read_octane_health),
    CallSurface(path="/render/callback-status", handler=read_callback_status),
    CallSurface(path="/api/grpc/{service}/{method}", handler=refuse_grpc, method="POST"),
)
