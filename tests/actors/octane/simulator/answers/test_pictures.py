"""Tests of actors/octane/simulator/answers/pictures.py, over the wire."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import numpy as np
import pytest

from actors.octane.simulator.colour import convert
from actors.octane.simulator.passes import PASSES
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import ask, call, end_of, listening, register
from tests.waiting import PATIENCE, eventually

LDR = {"cryptomatteFalseColor": True, "premultipliedAlphaType": 1}


async def images(address: str) -> list[wire.ApiRenderImage]:
    return list((await call(address, "grabRenderResult")).renderImages.data)


@pytest.mark.parametrize(
    "fields",
    [
        {"bufferType": 0, "colorSpace": 1},
        {"bufferType": 0, "colorSpace": 1, "cryptomatteFalseColor": True},
        {"bufferType": 0, "colorSpace": 1, "premultipliedAlphaType": 1},
        {"bufferType": 0, "colorSpace": 1, "cryptomatteFalseColor": True, "premultipliedAlphaType": 2},
        {"bufferType": 0, "colorSpace": 0, **LDR},
        {"bufferType": 1, "colorSpace": 1000},
        {"bufferType": 3, "colorSpace": 1},
        {"bufferType": 1, "colorSpace": 1, "premultipliedAlphaType": 7},
    ],
)
async def test_tonemap_arguments_that_the_sdk_does_not_describe_are_refused(fields):
    async with simulated(LONG) as octane:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await call(octane.address, "setAsyncTonemapParams1", **fields)

        assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await call(octane.address, "asyncTonemapBufferType")).result == 0


async def test_tonemap_parameters_are_kept_and_told():
    async with simulated(LONG) as octane:
        await call(octane.address, "setAsyncTonemapParams1", bufferType=1, colorSpace=4, premultipliedAlphaType=2)

        told = [
            (await call(octane.address, f"asyncTonemap{name}")).result
            for name in ("BufferType", "CryptomatteFalseColor", "ColorSpace", "PremultipliedAlphaType")
        ]
        statistics = (await call(octane.address, "getRenderStatistics")).statistics

    assert told == [1, False, 4, 2]
    assert (statistics.bufferType, statistics.colorSpace, statistics.isLinear) == (1, 4, True)


@pytest.mark.parametrize("space", [1, 2, 3, 4, 5])
async def test_a_float_picture_is_the_same_light_in_each_space(space):
    async with simulated(replace(LONG, hdr=True)) as octane:
        await eventually(lambda: octane.render.samples > 2)
        await call(octane.address, "pauseRendering")
        pictures = []
        for wanted in (wire.NAMED_COLOR_SPACE_LINEAR_SRGB, space):
            await call(octane.address, "setAsyncTonemapParams1", bufferType=1, colorSpace=wanted)
            (image,) = await images(octane.address)
            assert image.colorSpace == wanted and image.isLinear is (wanted != 1)
            pictures.append(np.frombuffer(image.buffer.data, "<f4").reshape(27, 64, 4)[:, :48, :3])

    assert pictures[1] == pytest.approx(convert(pictures[0], space), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "asked", "image_type", "length"),
    [
        ({}, 0, wire.IMAGE_TYPE_LDR_RGBA, 4),
        ({}, 1, wire.IMAGE_TYPE_HDR_RGBA, 4),
        ({}, 2, wire.IMAGE_TYPE_HALF_RGBA, 0),
        ({"hdr": True}, 0, wire.IMAGE_TYPE_HDR_RGBA, 16),
        ({"half": True}, 0, wire.IMAGE_TYPE_HALF_RGBA, 8),
        ({"mono": True}, 0, wire.IMAGE_TYPE_LDR_MONO_ALPHA, 2),
        ({"mono": True, "hdr": True}, 0, wire.IMAGE_TYPE_HDR_MONO_ALPHA, 8),
        ({"mono": True, "half": True}, 0, wire.IMAGE_TYPE_HALF_MONO_ALPHA, 4),
    ],
)
async def test_pictures_have_the_type_that_was_asked_for_or_set_and_the_bytes_of_octanes_converter(
    settings, asked, image_type, length
):
    async with simulated(replace(LONG, **settings)) as octane:
        await eventually(lambda: octane.render.samples)
        await call(octane.address, "setAsyncTonemapParams1", bufferType=asked, colorSpace=1, **LDR)
        (image,) = await images(octane.address)

    assert (image.type, len(image.buffer.data)) == (image_type, 64 * 27 * length)


async def test_a_transparent_sky_has_alpha():
    async with simulated(replace(LONG, alpha=True)) as octane:
        await eventually(lambda: octane.render.samples)
        (image,) = await images(octane.address)

    pixels = np.frombuffer(image.buffer.data, np.uint8).reshape(27, 64, 4)[:, :48]
    assert image.hasAlpha and pixels[..., 3].min() == 0 and pixels[..., 3].max() == 255
    assert not pixels[pixels[..., 3] == 0].any()  # premultiplied


async def test_passes_come_in_the_order_of_the_statistics_and_without_their_ids():
    async with simulated(replace(LONG, passes=4)) as octane:
        await eventually(lambda: octane.render.samples)
        assert len(await images(octane.address)) == 1
        wanted = wire.ApiArrayRenderPassId(data=[1009, 1003, 0, 501])
        assert (await call(octane.address, "setAsyncTonemapRenderPasses", tonemapPasses=wanted)).result

        statistics = (await call(octane.address, "getRenderStatistics")).statistics
        several = await images(octane.address)
        enabled = (await call(octane.address, "getEnabledAovs")).aovIds.data
        displayed = (await call(octane.address, "displayRenderPassId")).result

    # Custom 1 is not enabled, so it is left out: there can be fewer than were asked for.
    assert list(statistics.tonemapPasses.data) == [0, 1003, 1009] and statistics.tonemapPassesCount == 3
    assert list(statistics.renderPasses.data) == list(enabled) == list(PASSES[:4]) and displayed == 0
    assert len({image.buffer.data for image in several}) == len(several) == 3
    assert [image.renderPassId for image in several] == [0, 0, 0]


@pytest.mark.parametrize("passes", [[], [501]])
async def test_a_set_of_no_passes_is_answered_with_false(passes):
    async with simulated(replace(LONG, passes=2)) as octane:
        wanted = wire.ApiArrayRenderPassId(data=passes)
        assert not (await call(octane.address, "setAsyncTonemapRenderPasses", tonemapPasses=wanted)).result
        assert octane.tonemapped == [0]


async def test_images_carry_their_pass_where_that_is_set():
    async with simulated(replace(LONG, passes=2, pass_ids=True)) as octane:
        octane.tonemap_passes = [0, 1003]
        await eventually(lambda: octane.render.samples)
        assert [image.renderPassId for image in await images(octane.address)] == [0, 1003]


async def test_the_newest_registrant_takes_the_slot_and_anybody_clears_it():
    async with simulated(LONG) as octane, listening(octane.address, user_data=1) as (_, first):
        await first.read()
        async with listening(octane.address, user_data=2) as (_, second), asyncio.timeout(PATIENCE):
            assert (await second.read()).WhichOneof("payload") == "newImage"
            assert await end_of(first) is grpc.StatusCode.OK
            assert list(octane.registered.values()) == [2]

            await call(octane.address, "setOnNewImageCallback")
            assert octane.registered == {}


async def test_who_registers_twice_keeps_its_stream():
    async with simulated(LONG) as octane, listening(octane.address) as (channel, events), asyncio.timeout(PATIENCE):
        await register(channel, user_data=9)
        for _ in range(3):
            assert await events.read() is not grpc.aio.EOF


async def test_a_shared_surface_takes_the_pixels_away_until_it_is_given_up():
    async with simulated(LONG) as octane:
        await eventually(lambda: octane.render.samples)
        await call(octane.address, "setSharedSurfaceOutputType", type=1, realTime=True)
        (image,) = await images(octane.address)
        assert (image.size.x, image.pitch, image.buffer.data) == (0, 0, b"") and image.sharedSurface.type == 11
        assert (await call(octane.address, "getSharedSurfaceOutputType")).result == 1
        assert (await call(octane.address, "getRealTime")).result

        await call(octane.address, "setSharedSurfaceOutputType")
        (image,) = await images(octane.address)
        assert image.size.x == 48


async def test_a_triggered_tonemap_announces_an_image():
    still = replace(LONG, max_samples=3, rest=600.0)
    async with simulated(still) as octane, listening(octane.address) as (channel, events), asyncio.timeout(PATIENCE):
        await eventually(lambda: octane.render.state == wire.RSTATE_FINISHED)
        await events.read()
        await ask(channel, "triggerAsyncTonemap", force=True)
        assert (await events.read()).WhichOneof("payload") == "newImage"
