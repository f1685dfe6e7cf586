"""Tests of actors/octane/simulator/services.py: it answers as a real Octane does, to a client that knows only the wire."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from actors.octane.pixels import decode
from actors.octane.simulator.services import SERVICES
from actors.octane.simulator.simulator import OctaneGeneration, SimulatedKind
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
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import STREAM, call, channel_to, events_of, register
from tests.waiting import eventually

Engine = render.ApiRenderEngine


async def state_of(engine: render_rpc.ApiRenderEngineServiceStub) -> int:
    return (await engine.getRenderStatistics(Engine.getRenderStatisticsRequest())).statistics.state


@pytest.mark.parametrize(
    ("message", "wire_bytes"),
    [
        (stream.StreamCallbackRequest(newImage={}), "5200"),
        (stream.StreamCallbackRequest(newImage={"user_data": 7}), "52020807"),
        (stream.StreamCallbackRequest(renderFailure={}), "5a00"),
        (stream.StreamCallbackRequest(newStatistics={}), "6200"),
        (stream.StreamCallbackRequest(projectManagerChanged={}), "6a00"),
        (Engine.setOnNewImageCallbackRequest(), ""),
        (
            Engine.setOnNewImageCallbackRequest(callback={"callbackSource": "grpc", "callbackId": 5}),
            "0a080a04677270631005",
        ),
        (
            alpha.StreamCallbackRequestAlpha(
                newImage={
                    "callback_source": "grpc",
                    "callback_id": 3,
                    "user_data": 7,
                    "render_images": {
                        "data": [{"size": {"x": 2, "y": 1}, "pitch": 2, "buffer": {"data": bytes(range(8)), "size": 8}}]
                    },
                }
            ),
            "52240a04677270631003180722180a162a040802100130023a0c0a0800010203040506071008",
        ),
    ],
)
def test_messages_have_the_bytes_that_were_seen_of_octane(message, wire_bytes):
    assert message.SerializeToString().hex() == wire_bytes


async def test_no_image_is_announced_before_a_callback_is_registered():
    async with simulated(LONG) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        events = stream_rpc.StreamCallbackServiceStub(channel).callbackChannel(Empty())
        await eventually(lambda: octane.listeners and octane.render.samples > 2)

        # A project change comes unasked, so what it is first of was the first event of all.
        octane.tell(SimulatedKind.PROJECT_CHANGED)
        assert (await events.read()).WhichOneof("payload") == "projectManagerChanged"

        await register(channel, user_data=7)
        event = await events.read()
        assert event.WhichOneof("payload") == "newImage" and event.newImage.user_data == 7
        events.cancel()


async def test_a_grab_finds_nothing_before_the_first_sample_and_then_the_picture():
    slow = replace(LONG, samples_per_second=4.0)
    async with simulated(slow) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        engine = render_rpc.ApiRenderEngineServiceStub(channel)
        early = await engine.grabRenderResult(Engine.grabRenderResultRequest())
        assert not early.result and not early.renderImages.data

        await eventually(lambda: octane.render.samples)
        answer = await engine.grabRenderResult(Engine.grabRenderResultRequest())
        await engine.releaseRenderResult(Engine.releaseRenderResultRequest())

    (image,) = answer.renderImages.data
    assert answer.result and octane.releases == 1
    assert image.pitch == 64 > image.size.x == 48
    assert len(image.buffer.data) == image.buffer.size == 64 * 27 * 4
    # The padding is magenta: none of it may be left after decoding.
    pixels = decode(image).pixels[:, :, :3]
    assert not (pixels == (255, 0, 255)).all(axis=2).any()


async def test_a_float_picture_arrives_with_a_quarter_of_its_rows():
    async with simulated(LONG) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        engine = render_rpc.ApiRenderEngineServiceStub(channel)
        await engine.setAsyncTonemapParams1(Engine.setAsyncTonemapParams1Request(bufferType=1, colorSpace=2))
        await eventually(lambda: octane.render.samples)
        (image,) = (await engine.grabRenderResult(Engine.grabRenderResultRequest())).renderImages.data

    assert image.type == wire.IMAGE_TYPE_HDR_RGBA and image.isLinear
    # A quarter of 27 padded rows of 64 pixels: six of them, and the 48 pixels of a seventh.
    assert decode(image).short and decode(image).rows == 7


async def test_the_render_is_paused_continued_restarted_and_stopped():
    async with simulated(LONG) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        engine = render_rpc.ApiRenderEngineServiceStub(channel)
        await eventually(lambda: octane.render.samples > 1)

        await engine.pauseRendering(Engine.pauseRenderingRequest())
        assert await state_of(engine) == wire.RSTATE_PAUSED
        assert (await engine.isRenderingPaused(Engine.isRenderingPausedRequest())).result
        await engine.continueRendering(Engine.continueRenderingRequest())
        assert await state_of(engine) == wire.RSTATE_RENDERING

        wipes = octane.render.wipes
        await engine.restartRendering(Engine.restartRenderingRequest())
        assert octane.render.wipes == wipes + 1 and octane.render.samples == 0

        target = (await engine.getRenderTargetNode(Engine.getRenderTargetNodeRequest())).result
        await engine.stopRendering(Engine.stopRenderingRequest())
        await engine.restartRendering(Engine.restartRenderingRequest())
        assert await state_of(engine) == wire.RSTATE_STOPPED
        assert (await engine.getRenderTargetNode(Engine.getRenderTargetNodeRequest())).result.handle == 0
        await engine.setRenderTargetNode(Engine.setRenderTargetNodeRequest(targetNode=target))
        await eventually(lambda: octane.render.samples)


async def test_it_says_that_it_is_a_simulator_and_knows_its_camera_and_project():
    async with simulated() as octane, grpc.aio.insecure_channel(octane.address) as channel:
        info = project_rpc.ApiInfoServiceStub(channel)
        camera = livelink_rpc.LiveLinkServiceStub(channel)
        assert "simulator" in (await info.octaneName(project.ApiInfo.octaneNameRequest())).result
        assert (await info.octaneVersion(project.ApiInfo.octaneVersionRequest())).result == 15000008
        root = await project_rpc.ApiProjectManagerServiceStub(channel).rootNodeGraph(
            project.ApiProjectManager.rootNodeGraphRequest()
        )
        assert (root.result.handle, root.result.type) == (1000000, 18)

        before = await camera.GetCamera(livelink.Empty())
        await camera.SetCamera(livelink.CameraState(position=livelink.Vec3(x=1, y=2, z=3)))
        after = await camera.GetCamera(livelink.Empty())
        assert (after.position.x, after.position.y, after.position.z) == (1, 2, 3)
        assert after.target == before.target and after.fov == before.fov


async def test_alpha_5_sends_the_picture_along():
    older = replace(LONG, generation=OctaneGeneration.ALPHA_5)
    async with simulated(older) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        await register(channel)
        method = channel.unary_stream(
            "/octaneapi.StreamCallbackService/callbackChannel",
            request_serializer=Empty.SerializeToString,
            response_deserializer=alpha.StreamCallbackRequestAlpha.FromString,
        )
        events = method(Empty())
        event = await events.read()
        events.cancel()

    assert len(event.newImage.render_images.data) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_of_the_protos_is_answered(service):
    declared, answers = SERVICES[service]

    rpcs = declared.DESCRIPTOR.services_by_name[service.partition(".")[2]].methods_by_name
    assert sorted(answers) == sorted(rpcs)


async def test_calls_are_counted_by_their_name():
    async with simulated(LONG) as octane:
        for _ in range(3):
            await call(octane.address, "octaneName")
        assert octane.calls["octaneName"] == 3


async def test_alpha_3_waits_for_an_answer_to_each_image_and_ends_where_none_comes():
    async with simulated(replace(LONG, generation=OctaneGeneration.ALPHA_3)) as octane:
        assert (await call(octane.address, "octaneVersion")).result == 15000002
        # The mode of upsampling is where later generations have a ratio.
        assert (await call(octane.address, "getRenderStatistics")).statistics.upSamplingRatio == 0
        async with channel_to(octane.address) as channel:
            method = channel.stream_stream(
                STREAM,
                request_serializer=alpha.StreamCallbackResponseAlpha3.SerializeToString,
                response_deserializer=alpha.StreamCallbackRequestAlpha3.FromString,
            )
            both = method()
            await register(channel)
            for _ in range(2):
                event = await both.read()
                assert len(event.newImage.render_images.data) == 1
                await both.write(alpha.StreamCallbackResponseAlpha3(request_id=event.request_id, success=True))
            both.cancel()

            one_way = events_of(channel)
            assert (await one_way.read()).WhichOneof("payload") == "newImage"
            assert await one_way.read() is grpc.aio.EOF
