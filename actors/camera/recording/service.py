"""Answers the camera's commands to record and to keep stills."""

from __future__ import annotations

from typing import Any

from actors.camera.output import CameraOutput
from actors.camera.recording.recorder import CameraRecorder
from actors.camera.recording.session import RecordingRefused, checked_label, checked_seconds
from actors.camera.recording.shelf import RecordingShelf
from actors.camera.recording.stills import StillsKeeper, StillsRefused, checked_every
from actors.camera.report import CameraReport
from actors.camera.settings import CameraSettings
from actors.system.actor import Reject
from actors.system.caller import caller
from actors.system.context import Context
from actors.system.runtime import BrokerRuntime
from router.recordings import Recordings


class CameraRecordings:
    """What is recorded of one camera. Commands raise Reject."""

    def __init__(self, report: CameraReport, output: CameraOutput, settings: CameraSettings) -> None:
        self._recorder = CameraRecorder(report, output, settings)
        self._stills = StillsKeeper(report, output)

    def begin(self, ctx: Context) -> None:
        """Begins a new incarnation, which goes on with what the one before recorded."""
        shelf = _shelf(ctx)
        self._recorder.begin(ctx, shelf)
        self._stills.begin(ctx, shelf)

    async def end(self) -> None:
        """Stores what is gathered."""
        await self._recorder.end()

    async def start(self, seconds: float | None, label: str | None) -> dict[str, Any]:
        """Begins to record."""
        try:
            return await self._recorder.start(checked_seconds(seconds), checked_label(label), caller())
        except (ValueError, RecordingRefused) as fault:
            raise Reject(str(fault)) from fault

    async def stop(self) -> dict[str, Any]:
        """Ends the recording that goes on."""
        try:
            return await self._recorder.stop()
        except RecordingRefused as fault:
            raise Reject(str(fault)) from fault

    async def keep_stills(self, every: float, seconds: float | None, label: str | None) -> dict[str, Any]:
        """Begins to keep stills."""
        try:
            asked = checked_every(every), checked_seconds(seconds), checked_label(label)
            return await self._stills.start(*asked, caller())
        except (ValueError, StillsRefused) as fault:
            raise Reject(str(fault)) from fault

    async def stop_stills(self) -> dict[str, Any]:
        """Keeps no more stills."""
        return await self._stills.stop()


def _shelf(ctx: Context) -> RecordingShelf | None:
    """Where the recordings of a runtime on NATS are; there is no place for them under a Probe."""
    runtime = ctx._runtime
    if not isinstance(runtime, BrokerRuntime):
        return None
    return RecordingShelf(Recordings(runtime.broker), ctx.instance, runtime.broker.topology.recordings_max_age)
