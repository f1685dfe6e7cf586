"""Answers Octane's RPCs for the simulator: one class for each service, one method for each RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from actors.octane.simulator.simulator import SimulatedKind, Simulator
from protos import octane_livelink_pb2 as livelink
from protos import octane_livelink_pb2_grpc as livelink_rpc
from protos import octane_project_pb2 as project
from protos import octane_project_pb2_grpc as project_rpc
from protos import octane_render_pb2 as render
from protos import octane_render_pb2_grpc as render_rpc
from protos import octane_stream_alpha_pb2 as alpha
from protos import octane_stream_pb2 as stream
from protos import octane_stream_pb2_grpc as stream_rpc
from protos import octane_types_pb2 as wire

Engine = render.ApiRenderEngine
Context = grpc.aio.ServicerContext[Any, Any]


def add_services(server: grpc.aio.Server, simulator: Simulator) -> None:
    """Lets a server answer for a simulator."""
    for add, servicer in (
        (stream_rpc.add_StreamCallbackServiceServicer_to_server, StreamService(simulator)),
        (render_rpc.add_ApiRenderEngineServiceServicer_to_server, EngineService(simulator)),
        (project_rpc.add_ApiInfoServiceServicer_to_server, InfoService(simulator)),
        (project_rpc.add_ApiProjectManagerServiceServicer_to_server, ProjectService(simulator)),
        (project_rpc.add_ApiChangeManagerServiceServicer_to_server, ChangeService(simulator)),
        (livelink_rpc.add_LiveLinkServiceServicer_to_server, LiveLinkService(simulator)),
    ):
        add(servicer, server)  # type: ignore[no-untyped-call]


class SimulatedService:
    """What the services have in common: the simulator they speak for."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator


class StreamService(SimulatedService, stream_rpc.StreamCallbackServiceServicer):
    """The callback stream."""

    async def callbackChannel(self, request: Empty, context: Context) -> AsyncIterator[stream.StreamCallbackRequest]:
        with self.simulator.listening() as listener:
            while True:
                yield await self._event(await listener.next())

    async def _event(self, kind: SimulatedKind) -> stream.StreamCallbackRequest:
        user_data = self.simulator.registered.get(kind, 0)
        if not self.simulator.embeds_images:
            return stream.StreamCallbackRequest(**{kind.value: {"user_data": user_data}})
        values: dict[str, Any] = {"callback_source": "grpc", "callback_id": 1, "user_data": user_data}
        if kind.value == "newImage" and (image := await self.simulator.image()):
            values["render_images"] = wire.ApiArrayApiRenderImage(data=[image])
        # The method is declared with Beta 2's message; Alpha 5's fields pass through it as unknown ones.
        event = alpha.StreamCallbackRequestAlpha(**{kind.value: values})
        return stream.StreamCallbackRequest.FromString(event.SerializeToString())


class EngineService(SimulatedService, render_rpc.ApiRenderEngineServiceServicer):
    """The render engine."""

    async def setOnNewImageCallback(
        self, request: Engine.setOnNewImageCallbackRequest, context: Context
    ) -> Engine.setOnNewImageCallbackResponse:
        return Engine.setOnNewImageCallbackResponse(callbackId=self.simulator.register("newImage", request))

    async def setOnNewStatisticsCallback(
        self, request: Engine.setOnNewStatisticsCallbackRequest, context: Context
    ) -> Engine.setOnNewStatisticsCallbackResponse:
        return Engine.setOnNewStatisticsCallbackResponse(callbackId=self.simulator.register("newStatistics", request))

    async def setOnRenderFailureCallback(
        self, request: Engine.setOnRenderFailureCallbackRequest, context: Context
    ) -> Engine.setOnRenderFailureCallbackResponse:
        return Engine.setOnRenderFailureCallbackResponse(callbackId=self.simulator.register("renderFailure", request))

    async def grabRenderResult(
        self, request: Engine.grabRenderResultRequest, context: Context
    ) -> Engine.grabRenderResultResponse:
        self.simulator.grabs += 1
        image = await self.simulator.image()
        if image is None:
            return Engine.grabRenderResultResponse(result=False)
        return Engine.grabRenderResultResponse(result=True, renderImages=wire.ApiArrayApiRenderImage(data=[image]))

    async def releaseRenderResult(self, request: Engine.releaseRenderResultRequest, context: Context) -> Empty:
        self.simulator.releases += 1
        return Empty()

    async def getRenderStatistics(
        self, request: Engine.getRenderStatisticsRequest, context: Context
    ) -> Engine.getRenderStatisticsResponse:
        self.simulator.statistics_asked += 1
        return Engine.getRenderStatisticsResponse(statistics=self.simulator.statistics())

    async def setAsyncTonemapParams1(self, request: Engine.setAsyncTonemapParams1Request, context: Context) -> Empty:
        self.simulator.buffer_type = request.bufferType
        return Empty()

    async def pauseRendering(self, request: Engine.pauseRenderingRequest, context: Context) -> Empty:
        self.simulator.render.pause()
        return Empty()

    async def continueRendering(self, request: Engine.continueRenderingRequest, context: Context) -> Empty:
        self.simulator.render.resume()
        return Empty()

    async def restartRendering(self, request: Engine.restartRenderingRequest, context: Context) -> Empty:
        self.simulator.render.restart()
        return Empty()

    async def stopRendering(self, request: Engine.stopRenderingRequest, context: Context) -> Empty:
        self.simulator.render.stop()
        return Empty()

    async def isRenderingPaused(
        self, request: Engine.isRenderingPausedRequest, context: Context
    ) -> Engine.isRenderingPausedResponse:
        return Engine.isRenderingPausedResponse(result=self.simulator.render.state == wire.RSTATE_PAUSED)

    async def setRenderTargetNode(
        self, request: Engine.setRenderTargetNodeRequest, context: Context
    ) -> Engine.setRenderTargetNodeResponse:
        return Engine.setRenderTargetNodeResponse(result=self.simulator.aim(request.targetNode))

    async def getRenderTargetNode(
        self, request: Engine.getRenderTargetNodeRequest, context: Context
    ) -> Engine.getRenderTargetNodeResponse:
        return Engine.getRenderTargetNodeResponse(result=self.simulator.aimed_at())

    async def setRenderRegion(self, request: Engine.setRenderRegionRequest, context: Context) -> Empty:
        self.simulator.region = request
        return Empty()

    async def getRenderRegion(
        self, request: Engine.getRenderRegionRequest, context: Context
    ) -> Engine.getRenderRegionResponse:
        region = self.simulator.region
        return Engine.getRenderRegionResponse(
            active=region.active,
            regionMin=region.regionMin,
            regionMax=region.regionMax,
            featherWidth=region.featherWidth,
        )

    async def getCurrentChangeLevel(
        self, request: Engine.getCurrentChangeLevelRequest, context: Context
    ) -> Engine.getCurrentChangeLevelResponse:
        level = wire.CLevelT(value=self.simulator.render.change_level)
        return Engine.getCurrentChangeLevelResponse(result=level)

    async def getDeviceCount(
        self, request: Engine.getDeviceCountRequest, context: Context
    ) -> Engine.getDeviceCountResponse:
        return Engine.getDeviceCountResponse(result=1)

    async def getDeviceName(
        self, request: Engine.getDeviceNameRequest, context: Context
    ) -> Engine.getDeviceNameResponse:
        return Engine.getDeviceNameResponse(result=self.simulator.device)

    async def getMemoryUsage(
        self, request: Engine.getMemoryUsageRequest, context: Context
    ) -> Engine.getMemoryUsageResponse:
        # What its arrays take; a simulated device has no memory of its own to tell stories about.
        used = self.simulator.settings.width * self.simulator.settings.height * 60
        usage = render.ApiDeviceMemoryUsage(usedDeviceMemory=used, freeDeviceMemory=0, totalDeviceMemory=used)
        return Engine.getMemoryUsageResponse(memUsage=usage)

    async def renderDeviceState(
        self, request: Engine.renderDeviceStateRequest, context: Context
    ) -> Engine.renderDeviceStateResponse:
        failed = self.simulator.error != wire.RENDER_ERROR_NONE
        return Engine.renderDeviceStateResponse(
            result=wire.RENDER_DEVICE_STATE_ACTIVE_FAILED if failed else wire.RENDER_DEVICE_STATE_ACTIVE_OK
        )

    async def renderDeviceErrorCode(
        self, request: Engine.renderDeviceErrorCodeRequest, context: Context
    ) -> Engine.renderDeviceErrorCodeResponse:
        return Engine.renderDeviceErrorCodeResponse(result=wire.RenderError.Name(self.simulator.error))

    async def renderDeviceErrorMessage(
        self, request: Engine.renderDeviceErrorMessageRequest, context: Context
    ) -> Engine.renderDeviceErrorMessageResponse:
        failed = self.simulator.error != wire.RENDER_ERROR_NONE
        return Engine.renderDeviceErrorMessageResponse(result="the simulator was told to fail" if failed else "")

    async def errorcodeToString(
        self, request: Engine.errorcodeToStringRequest, context: Context
    ) -> Engine.errorcodeToStringResponse:
        name = wire.RenderError.Name(request.code)
        return Engine.errorcodeToStringResponse(result=name.removeprefix("RENDER_ERROR_").replace("_", " ").lower())


class InfoService(SimulatedService, project_rpc.ApiInfoServiceServicer):
    """Who answers."""

    async def octaneVersion(
        self, request: project.ApiInfo.octaneVersionRequest, context: Context
    ) -> project.ApiInfo.octaneVersionResponse:
        return project.ApiInfo.octaneVersionResponse(result=self.simulator.settings.generation.value)

    async def octaneName(
        self, request: project.ApiInfo.octaneNameRequest, context: Context
    ) -> project.ApiInfo.octaneNameResponse:
        return project.ApiInfo.octaneNameResponse(result=self.simulator.name)

    async def isDemoVersion(
        self, request: project.ApiInfo.isDemoVersionRequest, context: Context
    ) -> project.ApiInfo.isDemoVersionResponse:
        return project.ApiInfo.isDemoVersionResponse(result=False)


class ProjectService(SimulatedService, project_rpc.ApiProjectManagerServiceServicer):
    """Which project is open."""

    async def rootNodeGraph(
        self, request: project.ApiProjectManager.rootNodeGraphRequest, context: Context
    ) -> project.ApiProjectManager.rootNodeGraphResponse:
        root = wire.ObjectRef(handle=1000000, type=wire.ObjectRef.ApiRootNodeGraph)
        return project.ApiProjectManager.rootNodeGraphResponse(result=root)

    async def getCurrentProject(
        self, request: project.ApiProjectManager.getCurrentProjectRequest, context: Context
    ) -> project.ApiProjectManager.getCurrentProjectResponse:
        return project.ApiProjectManager.getCurrentProjectResponse(result="simulated/balls.ocs")

    async def resetProject(
        self, request: project.ApiProjectManager.resetProjectRequest, context: Context
    ) -> project.ApiProjectManager.resetProjectResponse:
        self.simulator.reset()
        return project.ApiProjectManager.resetProjectResponse(result=True)


class ChangeService(SimulatedService, project_rpc.ApiChangeManagerServiceServicer):
    """Changes of the scene; the simulator takes each at once, so there is nothing to apply."""

    async def update(self, request: project.ApiChangeManager.updateRequest, context: Context) -> Empty:
        return Empty()


class LiveLinkService(SimulatedService, livelink_rpc.LiveLinkServiceServicer):
    """The camera."""

    async def SetCamera(self, request: livelink.CameraState, context: Context) -> livelink.Empty:
        self.simulator.look(
            position=(request.position.x, request.position.y, request.position.z)
            if request.HasField("position")
            else None,
            target=(request.target.x, request.target.y, request.target.z) if request.HasField("target") else None,
            fov=request.fov if request.HasField("fov") else None,
        )
        return livelink.Empty()

    async def GetCamera(self, request: livelink.Empty, context: Context) -> livelink.CameraState:
        view = self.simulator.view
        (x, y, z), (a, b, c) = view.position, view.target
        return livelink.CameraState(
            position=livelink.Vec3(x=x, y=y, z=z),
            target=livelink.Vec3(x=a, y=b, z=c),
            up=livelink.Vec3(y=1.0),
            fov=view.fov,
        )
