"""The WebSocket of octaneWebR's client: an Octane's callbacks and pixels over real sockets, and who may have them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import websockets

from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from router.last_pictures import LastPictures, PictureKey
from router.nats.bucket import Bucket
from tests.clocks import Clock
from tests.edge.auth.conftest import SecuredFactory, bearer, clock, token
from tests.edge.conftest import EdgeFactory, RunningEdge, keep_picture
from tests.edge.surfaces.viewports import jpeg, picture, raw_picture, raw_subject, viewport
from tests.waiting import eventually

__all__ = ["clock"]


@pytest.fixture
async def octane(store: Broker, entity: str) -> str:
    """The id of an Octane that is connected, and has a picture."""
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected", "simulated": True}))
    await keep_picture(store, frame_subject("octane", entity, "beauty"), picture())
    return entity


async def test_who_subscribes_is_sent_the_newest_picture_in_base64(either: RunningEdge, octane: str) -> None:
    async with viewport(either, f"?octane={octane}") as client:
        await client.send(type="subscribe")
        image = await client.picture()

    pixels = base64.b64decode(image["buffer"]["data"])
    assert (image["type"], image["size"], image["pitch"]) == ("IMAGE_TYPE_LDR_RGBA", {"x": 16, "y": 8}, 16)
    assert (image["buffer"]["size"], image["buffer"]["encoding"], len(pixels)) == (512, "base64", 512)
    assert image["tonemappedSamplesPerPixel"] == 1 and image["changeLevel"] == {"value": "3"}
    assert all(abs(got - meant) <= 3 for got, meant in zip(pixels[:4], (1, 100, 50, 255), strict=True))


@pytest.mark.parametrize("said", [{"pixels": "binary"}, {"encoding": "binary"}, {"binary": True}])
async def test_pixels_are_binary_where_the_client_asks_for_them(
    edge: RunningEdge, octane: str, said: dict[str, Any]
) -> None:
    async with viewport(edge, f"?octane={octane}") as client:
        await client.send(type="subscribe", **said)
        image = await client.until("newImage")

    assert (image["width"], image["height"], image["pitch"], image["pixelSize"]) == (16, 8, 16, 512)
    assert (image["format"], image["sharedSurface"], image["source"]) == ("IMAGE_TYPE_LDR_RGBA", None, "test")
    assert len(image["pixels"]) == 512


async def test_all_forms_of_a_picture_have_the_same_pixels(edge: RunningEdge, octane: str) -> None:
    found = []
    for form in ("base64", "buffer", "binary"):
        async with viewport(edge, f"?octane={octane}&pixels={form}") as client:
            if form == "binary":
                found.append((await client.until("newImage"))["pixels"])
            else:
                data = (await client.picture())["buffer"]["data"]
                found.append(bytes(data["data"]) if form == "buffer" else base64.b64decode(data))

    assert found[0] == found[1] == found[2]


async def test_a_client_that_says_so_is_sent_no_pictures_and_holds_no_lease(
    edge: RunningEdge, store: Broker, octane: str
) -> None:
    leases = Bucket(store.connection, "LEASES")

    async def held() -> int:
        return len(await leases.entries(f"view.octane.{octane}.>"))

    async def not_held() -> bool:
        return await held() == 0

    async with viewport(edge, f"?octane={octane}") as client:
        await client.send(type="subscribe", pixels="none")
        await client.send(type="ping")
        assert (await client.next())["type"] == "pong" and await not_held()
        await client.send(type="subscribe")
        await client.picture()
        await eventually(held)
        await client.send(type="unsubscribe")
        await eventually(not_held)
        await client.send(type="ping")
        assert (await client.next())["type"] == "pong"


async def test_raw_pictures_follow_the_jpeg_of_before_and_none_is_sent_twice(
    edge: RunningEdge, store: Broker, octane: str
) -> None:
    subject = raw_subject(octane)

    async with viewport(edge, f"?octane={octane}&pixels=binary") as client:
        first = await client.until("newImage")
        second = await client.until_sent("newImage", lambda: store.frame(subject, raw_picture(2)))
        for picture in (
            raw_picture(2), b"no picture", pack({"seq": 9, "format": "jpeg"}, b"no jpeg"),
            pack({"format": "rgba", "width": 99, "height": 9}, b"1234"),
        ):  # fmt: skip
            await store.frame(subject, picture)
            await asyncio.sleep(0.05)
        third = await client.until_sent("newImage", lambda: store.frame(subject, raw_picture(3)))

    assert [each["tonemappedSamplesPerPixel"] for each in (first, second, third)] == [1, 2, 3]
    assert second["pixels"] == bytes((2, 100, 50, 255)) * 128 and second["timestamp"] == 1_600_000_000_000


async def test_an_octane_that_renders_no_more_is_shown_as_it_was_last(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "absent"}))
    header = {"track": "beauty", "samples": 77, "time": 1.4e12}
    await LastPictures(store).keep(PictureKey.of_track("octane", entity, "beauty"), header, jpeg())

    async with viewport(edge, f"?octane={entity}&pixels=binary") as client:
        image = await client.until("newImage")

    assert (image["tonemappedSamplesPerPixel"], image["timestamp"], image["width"]) == (77, 1_400_000_000_000, 16)


async def test_pictures_are_scaled_where_the_client_asks_for_a_width(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    kept = pack({"track": "beauty", "samples": 1}, jpeg((10, 200, 30), (256, 128)))
    await keep_picture(store, frame_subject("octane", entity, "beauty"), kept)

    async with viewport(edge, f"?octane={entity}&width=50&pixels=binary") as client:
        small = await client.until("newImage")
        # The actor has scaled it already.
        raw = await client.until_sent("newImage", lambda: store.frame(raw_subject(entity, 50), raw_picture(2, 64, 32)))

    assert (small["width"], small["height"], len(small["pixels"])) == (64, 32, 64 * 32 * 4)
    assert all(abs(got - meant) <= 3 for got, meant in zip(small["pixels"][:4], (10, 200, 30, 255), strict=True))
    assert (raw["width"], raw["height"], raw["tonemappedSamplesPerPixel"]) == (64, 32, 2)


async def test_events_are_told_as_callbacks_and_the_newest_statistics_first(
    edge: RunningEdge, store: Broker, octane: str
) -> None:
    for samples in (10, 20):
        data = {"state": "rendering", "samples": samples, "max_samples": 500}
        await store.publish(Event.new(f"octane.{octane}.statistics", data))

    async with viewport(edge, f"?octane={octane}&enums=numbers") as client:
        statistics = await client.next()
        await edge.publish(
            {"subject": f"octane.{octane}.render_failure", "data": {"reason": "GPU 0: out of memory"}},
            {"subject": f"octane.{octane}.project_changed", "data": {"project": "room.orbx"}},
        )
        failure, project = await client.next(), await client.next()

    assert statistics["type"] == "newStatistics"
    assert statistics["data"]["statistics"] == {
        "beautySamplesPerPixel": 20, "beautyMaxSamplesPerPixel": 500, "state": 2
    }  # fmt: skip
    assert (failure["type"], failure["data"]["reason"]) == ("renderFailure", "GPU 0: out of memory")
    assert (project["type"], project["data"]["project"]) == ("projectManagerChanged", "room.orbx")
    assert all(
        each["data"]["user_data"] == "0" and each["timestamp"] > 1.7e12 for each in (statistics, failure, project)
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("[1]", "must be a JSON object"),
        ("nonsense", "must be a JSON object"),
        ('{"type":"dance"}', "known types: subscribe"),
        ('{"type":"subscribe","pixels":"gif"}', "pixels must be one of base64, binary, buffer or none"),
        ('{"type":"subscribe","pixels":7}', "pixels must be one of"),
    ],
)
async def test_what_cannot_be_done_is_answered_and_the_connection_goes_on(
    edge: RunningEdge, octane: str, said: str, words: str
) -> None:
    async with viewport(edge, f"?octane={octane}") as client:
        await client.raw.send(said)
        answer = await client.next()
        await client.send(type="ping")
        pong = await client.next()

    assert answer["type"] == "error" and words in answer["message"]
    assert pong["type"] == "pong"


@pytest.mark.parametrize(
    ("query", "code"),
    [("?octane=nobody", "octane_not_found"), ("?pixels=gif", "bad_parameter"), ("?width=0", "bad_parameter")],
)
async def test_what_an_address_asks_in_vain_is_told_before_the_close(edge: RunningEdge, query: str, code: str) -> None:
    async with viewport(edge, query) as client:
        said = await client.next()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()

    assert (said["type"], said["code"]) == ("error", code)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4506


async def test_a_slow_client_gets_the_newest_picture_and_none_of_those_between(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    await store.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}))
    subject = raw_subject(entity)

    async with viewport(edge, f"?octane={entity}&pixels=binary", max_queue=1) as client:
        assert edge.edge is not None
        await eventually(lambda: edge.edge is not None and edge.edge.video._tracks[subject].viewers)
        # It reads nothing, and each picture is 4 MB.
        for number in range(1, 60):
            await store.frame(subject, raw_picture(number, 1024, 1024))
            await asyncio.sleep(0.01)
        seen = []

        async def shown() -> None:
            while not seen or seen[-1] < 59:
                seen.append((await client.until("newImage"))["tonemappedSamplesPerPixel"])

        reading = asyncio.create_task(shown())
        while not (await asyncio.wait({reading}, timeout=1.0))[0]:
            # A picture may be lost on its way to the edge.
            await store.frame(subject, raw_picture(59, 1024, 1024))
        await reading

    assert len(seen) < 30 and seen == sorted(seen)


async def test_pictures_are_not_compressed_on_their_way(edge: RunningEdge, octane: str) -> None:
    async with viewport(edge, f"?octane={octane}", compression="deflate") as client:
        assert client.raw.protocol.extensions == []
        await client.send(type="subscribe")
        assert (await client.picture())["buffer"]["size"] == 512


async def test_a_token_without_the_right_to_an_octane_sees_nothing_of_it(
    secured: SecuredFactory, store: Broker, octane: str
) -> None:
    async with secured() as edge:
        mine = bearer(token("me", read=[f"octane.{octane}.>"]))
        async with viewport(edge, f"?octane={octane}", additional_headers=mine) as client:
            await client.send(type="subscribe")
            assert (await client.picture())["buffer"]["size"] == 512
        # A browser can send no header with a WebSocket.
        granted = edge.as_("me", read=[f"octane.{octane}.>"])
        ticket = (await granted.http.post("/tickets", json={"path": "/api/callbacks"})).json()["ticket"]
        async with viewport(edge, f"?octane={octane}&ticket={ticket}") as client:
            await client.send(type="subscribe")
            assert (await client.picture())["buffer"]["size"] == 512
        # Statistics alone are not enough: pictures show the rest.
        other = bearer(token("other", read=[f"octane.{octane}.statistics"]))
        async with viewport(edge, f"?octane={octane}", additional_headers=other) as client:
            said = await client.next()
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.next()
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with viewport(edge, additional_headers=bearer("nonsense")):
                pass

    assert refused.value.response.status_code == 401
    assert (said["type"], said["code"]) == ("error", "not_granted")
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4503


async def test_a_viewport_is_closed_to_come_back_when_its_token_expires(
    secured: SecuredFactory,
    store: Broker,
    octane: str,
    clock: Clock,
) -> None:
    async with secured() as edge:
        headers = bearer(token("me", ttl=600.0, read=[f"octane.{octane}.>"]))
        async with viewport(edge, f"?octane={octane}", additional_headers=headers) as client:
            await client.send(type="subscribe")
            await client.picture()
            clock.advance(700.0)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.next()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4003


async def test_an_edge_that_drains_closes_its_viewports_so_that_they_come_back(
    edge_factory: EdgeFactory, octane: str
) -> None:
    async with edge_factory() as edge, viewport(edge, f"?octane={octane}") as client:
        await client.send(type="subscribe")
        await client.picture()
        assert edge.edge is not None
        await edge.edge.drain()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.next()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 4001
