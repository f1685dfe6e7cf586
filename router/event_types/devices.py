"""Declares the events of cameras and of Octane renders."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from router.event_types.declaration import Delivery, EventType
from router.event_types.fields import Amount, Count, Share


class CameraStateData(msgspec.Struct, gc=False, kw_only=True):
    """What a camera does. `fps` is what was asked for."""

    status: str
    reason: str | None = None
    simulated: bool | None = None
    width: Count | None = None
    height: Count | None = None
    fps: Amount | None = None
    quality: Count | None = None
    recording: Annotated[
        dict[Any, Any] | None,
        Meta(description="What is being recorded: `id`, `session`, `since`, `until`, `label`, `by`."),
    ] = None
    stills: Annotated[
        dict[Any, Any] | None,
        Meta(description="The stills that are kept: as above, and their interval `every` in seconds."),
    ] = None


class CameraStatisticsData(msgspec.Struct, gc=False, kw_only=True):
    """What a camera's stream came to. `jitter_ms` in milliseconds.

    `fps` counts the pictures sent, `capture_fps` those captured. `drops` counts by reason: `late`, `bad`, `encoder`, `broker`.
    `rungs` has of each rung that is watched `fps`, `bytes_per_second`, `viewers`, and `encode_ms` (`p50`, `p99`; null where the
    source encodes).
    """

    fps: Amount | None = None
    capture_fps: Amount | None = None
    drops: dict[Any, Any] | None = None
    rungs: dict[Any, Any] | None = None
    frames: Count | None = None
    bytes_per_second: Amount | None = None
    jitter_ms: Amount | None = None
    viewers: Count | None = None
    dropped: Count | None = None


class CameraDeliveryData(msgspec.Struct, gc=False, kw_only=True):
    """What the viewers of a camera were delivered by one edge in the last `seconds`."""

    edge: str
    seconds: Amount
    viewers: Count
    transports: Annotated[
        dict[str, Any],
        Meta(
            description="By transport (`websocket`, `mjpeg`): `viewers`, `fps` and `bytes_per_second` of all of them together, "
            "`repeated`, `dropped` by reason (`slow`, `behind`, `gap`, `old`, `rate`), and `age_ms` with `p50` and `p99`: from "
            "the capture until the viewer painted or acknowledged a picture, or its socket had taken it."
        ),
    ]


class CameraControlData(msgspec.Struct, gc=False, kw_only=True):
    """One control of a camera's source. Of a region or a size, the values are objects of their members in pixels."""

    kind: Annotated[str, Meta(description="`number`, `switch`, `choice`, `button`, `region` or `size`.")]
    value: Any = None
    least: Any = None
    most: Any = None
    step: Any = None
    unit: str = ""
    choices: list[Any] = []


class CameraControlsData(msgspec.Struct, gc=False, kw_only=True):
    """What a camera is set to. `refused` names values that were kept and that the source does not take, with the reason."""

    fps: Amount | None = None
    quality: Count | None = None
    controls: dict[str, CameraControlData] = {}
    refused: dict[str, str] | None = None
    revision: Annotated[Count | None, Meta(description="Larger with each change; ms since the epoch.")] = None


class CameraRecordingData(msgspec.Struct, gc=False, kw_only=True):
    """What became of a recording. Times are RFC 3339, `duration` in seconds."""

    what: Annotated[
        str,
        Meta(
            description="`started`, `file_finished` (the next file follows), `stopped`, `interrupted` (its process had ended), "
            "`failed` (with `reason`) or `deleted`."
        ),
    ]
    recording: str | None = None
    session: str | None = None
    kind: str | None = None
    label: str | None = None
    by: str | None = None
    reason: str | None = None
    began: str | None = None
    ended: str | None = None
    until: str | None = None
    duration: Amount | None = None
    frames: Count | None = None
    bytes: Count | None = None
    lost: Count | None = None


class OctaneStateData(msgspec.Struct, gc=False, kw_only=True):
    """Whether there is an Octane, and which; and whether its picture is the newest.

    `status` is absent, refused, busy or connected; `picture` is live, stale or unreadable; `callback_slot` is contested
    where another client registers its callbacks again and again. The times are RFC 3339.
    """

    status: str
    since: str | None = None
    reason: str | None = None
    picture: str | None = None
    picture_reason: str | None = None
    picture_since: str | None = None
    callback_slot: str | None = None
    address: str | None = None
    name: str | None = None
    version: str | None = None
    simulated: bool | None = None


class RenderDeviceData(msgspec.Struct, gc=False, kw_only=True):
    """A device that Octane renders with. Memory in bytes."""

    name: str
    used_memory: Count | None = None
    free_memory: Count | None = None
    total_memory: Count | None = None
    hardware_ray_tracing: bool | None = None


class OctaneStatisticsData(msgspec.Struct, gc=False, kw_only=True):
    """How far a render is. Times in seconds. Speed and estimate are left out of a render that failed or was stopped."""

    state: str | None = None
    samples: Count | None = None
    max_samples: Count | None = None
    denoised_samples: Count | None = None
    progress: Share | None = None
    samples_per_second: Amount | None = None
    render_time: Amount | None = None
    estimated_render_time: float | None = None
    width: Count | None = None
    height: Count | None = None
    change_level: int | None = None
    wipes: Count | None = None
    region_samples: Count | None = None
    passes: Annotated[list[str], Meta(description="The passes that can be watched, as `?pass=` names them.")] | None = (
        None
    )
    project: str | None = None
    devices: list[RenderDeviceData] | None = None
    primitives: Count | None = None
    meshes: Count | None = None
    simulated: bool | None = None


class OctaneControlsData(msgspec.Struct, gc=False, kw_only=True):
    """What an Octane is set to, and who moved its camera last. None stands for what it did not say."""

    render: str
    samples: Count | None = None
    max_samples: Count | None = None
    width: Count | None = None
    height: Count | None = None
    priority: str | None = None
    sub_sampling: str | None = None
    clay_mode: str | None = None
    region: dict[Any, Any] | None = None
    film_region: dict[Any, Any] | None = None
    camera: dict[Any, Any] | None = None
    camera_by: str | None = None
    tonemap: dict[Any, Any] | None = None
    passes: list[str] | None = None
    target: dict[Any, Any] | None = None
    revision: Annotated[Count | None, Meta(description="Larger with each change; also in the answers of commands.")] = (
        None
    )


class OctaneRenderData(msgspec.Struct, gc=False, kw_only=True):
    """The run of the render that is on an Octane's film, or was last. `picture` is a link to its last picture, once it is over."""

    run: str
    status: Annotated[str, Meta(description="`running`, `paused`, `finished`, `failed` or `stopped`.")]
    project: str | None = None
    target: Count | None = None
    width: Count | None = None
    height: Count | None = None
    samples: Count | None = None
    max_samples: Count | None = None
    render_time: Amount | None = None
    devices: list[str] | None = None
    began: Amount | None = None
    seen: Amount | None = None
    life: Count | None = None
    picture: str | None = None
    picture_time: Amount | None = None
    picture_expires: Count | None = None
    simulated: bool | None = None


class RenderFailureData(msgspec.Struct, gc=False, kw_only=True):
    """Why a render failed."""

    reason: str
    devices: list[dict[Any, Any]] | None = None
    simulated: bool | None = None


class ProjectChangedData(msgspec.Struct, gc=False, kw_only=True):
    """Another project was opened in Octane."""

    project: str | None = None


DEVICE_TYPES: tuple[EventType, ...] = (
    EventType("state", "What a device or a part does now.", delivery=Delivery.LATEST),
    EventType("statistics", "Figures of a device or a part.", delivery=Delivery.LATEST),
    EventType("state", "What a camera does.", "camera", CameraStateData, Delivery.LATEST),
    EventType("controls", "What a camera is set to.", "camera", CameraControlsData, Delivery.LATEST),
    EventType("statistics", "Figures of a camera's stream.", "camera", CameraStatisticsData, Delivery.LATEST),
    EventType("recording", "A camera's recording began or ended.", "camera", CameraRecordingData),
    EventType(
        "delivery",
        "What a camera's viewers were delivered.",
        "camera",
        CameraDeliveryData,
        Delivery.LATEST,
        key=("edge",),
    ),
    EventType("state", "Whether there is an Octane.", "octane", OctaneStateData, Delivery.LATEST),
    EventType("statistics", "How far a render is.", "octane", OctaneStatisticsData, Delivery.LATEST, progress=True),
    EventType("controls", "What an Octane is set to.", "octane", OctaneControlsData, Delivery.LATEST),
    EventType("render", "The run of an Octane's render.", "octane", OctaneRenderData, Delivery.LATEST),
    EventType("render_failure", "A render failed.", "octane", RenderFailureData),
    EventType("project_changed", "Another project was opened.", "octane", ProjectChangedData),
)
