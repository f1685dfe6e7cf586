"""The simulator behaves as a real Octane does, to a client that knows only the wire."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import grpc
import numpy as np
import pytest
from google.protobuf.empty_pb2 import Empty

from actors.octane.errors import AddressBusy
from actors.octane.pixels import decode
from actors.octane.simulator.film import Film
from actors.octane.simulator.render import Render
from actors.octane.simulator.scene import Viewpoint, trace
from actors.octane.simulator.server import serve
from actors.octane.simulator.simulator import Generation, SimulatedKind
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
from tests.actors.octane.simulation import LONG, QUICK, simulated
from tests.waiting import PATIENCE, eventually

Engine = render.ApiRenderEngine


async def register(engine: render_rpc.ApiRenderEngineServiceStub, user_data: int = 0) -> None:
    callback = render.OnNewImageCallbackT(callbackSource="grpc", callbackId=1)
    await engine.setOnNewImageCallback(Engine.setOnNewImageCallbackRequest(callback=callback, userData=user_data))


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
        engine = render_rpc.ApiRenderEngineServiceStub(channel)
        events = stream_rpc.StreamCallbackServiceStub(channel).callbackChannel(Empty())
        await eventually(lambda: octane.listeners and octane.render.samples > 2)

        # A project change comes unasked, so what it is first of was the first event of all.
        octane.tell(SimulatedKind.PROJECT_CHANGED)
        assert (await events.read()).WhichOneof("payload") == "projectManagerChanged"

        await register(engine, user_data=7)
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
    pixels = decode(image).pixels
    assert not (pixels == (255, 0, 255)).all(axis=2).any()


async def test_a_float_picture_arrives_with_a_quarter_of_its_rows():
    async with simulated(LONG) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        engine = render_rpc.ApiRenderEngineServiceStub(channel)
        await engine.setAsyncTonemapParams1(Engine.setAsyncTonemapParams1Request(bufferType=1))
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
    older = replace(LONG, generation=Generation.ALPHA_5)
    async with simulated(older) as octane, grpc.aio.insecure_channel(octane.address) as channel:
        await register(render_rpc.ApiRenderEngineServiceStub(channel))
        method = channel.unary_stream(
            "/octaneapi.StreamCallbackService/callbackChannel",
            request_serializer=Empty.SerializeToString,
            response_deserializer=alpha.StreamCallbackRequestAlpha.FromString,
        )
        events = method(Empty())
        event = await events.read()
        events.cancel()

    assert len(event.newImage.render_images.data) == 1


async def test_a_busy_port_is_one_clear_line():
    async with simulated() as octane:
        port = int(octane.address.rpartition(":")[2])

        with pytest.raises(AddressBusy, match=rf"cannot listen on 127\.0\.0\.1:{port}: another program") as refused:
            await serve(replace(QUICK, port=port))

    assert isinstance(refused.value, OSError) and "\n" not in str(refused.value)


async def test_cancelling_frees_the_port_while_a_stream_is_open():
    async with simulated() as octane:
        channel = grpc.aio.insecure_channel(octane.address)
        events = stream_rpc.StreamCallbackServiceStub(channel).callbackChannel(Empty())
        await eventually(lambda: octane.listeners)
    with pytest.raises(grpc.aio.AioRpcError):
        while True:
            assert await events.read() is not grpc.aio.EOF
    await channel.close()

    host, _, port = octane.address.rpartition(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, int(port)))


async def test_serve_tells_its_address_and_ends_when_cancelled():
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(QUICK, told.set_result))
    address = await asyncio.wait_for(told, PATIENCE)
    assert address.startswith("127.0.0.1:") and not address.endswith(":0")

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_finished_render_rests_and_makes_room_for_the_next_view():
    progress = Render(max_samples=10, samples_per_second=10, rest=5)
    progress.loaded()
    assert not progress.advance(100.0)
    assert progress.advance(100.5) and progress.samples == 5
    progress.pause()
    assert not progress.advance(200.0) and progress.samples == 5
    progress.resume()
    assert progress.advance(201.0) and (progress.samples, progress.state) == (10, wire.RSTATE_FINISHED)

    progress.advance(204.0)
    assert progress.state == wire.RSTATE_FINISHED
    progress.advance(206.5)
    assert (progress.state, progress.samples, progress.view) == (wire.RSTATE_WAITING_FOR_DATA, 0, 1)


def test_noise_falls_as_one_over_the_root_of_the_samples():
    plate = trace(Viewpoint.around(0), 96, 54)
    film = Film(plate, 96)
    film.expose(1)

    noise = {}
    for samples in (16, 64, 256):
        film.expose(samples)
        noise[samples] = float(np.std((film.light() - plate.light) / plate.noise))

    assert noise[16] / noise[64] == pytest.approx(2, rel=0.35)
    assert noise[64] / noise[256] == pytest.approx(2, rel=0.35)
    film.expose(4)
    assert float(np.std((film.light() - plate.light) / plate.noise)) == pytest.approx(0.5, rel=0.35)
