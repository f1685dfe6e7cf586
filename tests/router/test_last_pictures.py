"""Last pictures on a real nats-server: kept whole, bounded, and opened by their own links only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from router.broker import Broker
from router.errors import TooLarge
from router.last_pictures import MAX_BYTES, KeptPicture, LastPictures, PictureKey, is_signed, link_to
from router.topology import PICTURES, TopologySettings, streams
from tests.servers import serving_small
from tests.waiting import unhurried

# Bytes of a message on the server below, so that small pictures have several parts.
SMALL = 65_536
FRAME = {"time": 1_800_000_000_123, "format": "jpeg", "track": "beauty", "samples": 40}


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_small(tmp_path_factory.mktemp("small"), SMALL) as server:
        yield server.url


@pytest.fixture
async def broker(small_server: str) -> AsyncIterator[Broker]:
    async with Broker(unhurried(small_server), "test") as opened:
        yield opened


async def whole(pictures: LastPictures, key: PictureKey) -> bytes | None:
    kept = await pictures.find(key)
    found = await pictures.body(key, kept) if kept is not None else None
    return found[1] if found is not None else None


async def test_the_last_picture_of_a_track_takes_the_place_of_the_one_before(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_track("octane", entity, "beauty")
    assert await pictures.find(key) is None

    await pictures.keep(key, {**FRAME, "samples": 10}, b"first")
    await pictures.keep(key, FRAME, b"second")

    kept = await pictures.find(key)
    assert kept is not None and await whole(pictures, key) == b"second"
    assert kept.header == FRAME and kept.time == 1_800_000_000.123


async def test_a_picture_larger_than_a_message_lies_in_parts(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_run("job", entity)
    large = bytes(range(256)) * (SMALL * 3 // 256)

    await pictures.keep(key, FRAME, large)

    kept = await pictures.find(key)
    assert kept is not None and kept.parts > 3 and not kept.body
    assert await whole(pictures, key) == large
    await pictures.keep(key, FRAME, b"small again")
    assert await whole(pictures, key) == b"small again"


async def test_a_reader_whose_picture_is_replaced_meanwhile_gets_the_newer_one(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_run("job", entity)
    size = SMALL * 2
    await pictures.keep(key, FRAME, b"a" * size)
    old = await pictures.find(key)
    # The second after it is written over its parts.
    await pictures.keep(key, FRAME, b"b" * size)
    await pictures.keep(key, FRAME, b"c" * size)

    assert old is not None
    found = await pictures.body(key, old)

    assert found is not None and found[1] == b"c" * size


async def test_a_writer_that_dies_among_the_parts_leaves_the_picture_before_it(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_run("job", entity)
    large = b"a" * (SMALL * 2)
    kept = await pictures.keep(key, FRAME, large)

    await broker.store(key.part(1 - kept.slot, 0), b"0123456789abcdef" + b"b" * 100, {})

    assert await whole(pictures, key) == large


async def test_parts_that_are_gone_are_no_picture(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_run("job", entity)
    kept = await pictures.keep(key, FRAME, b"a" * (SMALL * 2))
    await broker.stream(PICTURES).purge(key.part(kept.slot, 1))

    assert await whole(pictures, key) is None


async def test_a_picture_beyond_all_bounds_is_refused(broker: Broker, entity: str) -> None:
    with pytest.raises(TooLarge):
        await LastPictures(broker).keep(PictureKey.of_run("job", entity), FRAME, bytes(MAX_BYTES + 1))


async def test_what_is_no_frame_is_no_picture(broker: Broker, entity: str) -> None:
    key = PictureKey.of_run("job", entity)
    for broken in (b"", b"\xff\xff\xff\xff", b"\x02\x00\x00\x00{}", b"\x04\x00\x00\x00null"):
        await broker.store(key.subject, broken, {})
        assert await LastPictures(broker).find(key) is None


async def test_pictures_of_names_with_dots_and_stars_are_kept_apart(broker: Broker, entity: str) -> None:
    pictures = LastPictures(broker)
    one, other = PictureKey.of_run("job", f"{entity}.a"), PictureKey.of_run("job", f"{entity}*a")

    await asyncio.gather(pictures.keep(one, FRAME, b"one"), pictures.keep(other, FRAME, b"other"))

    assert (await whole(pictures, one), await whole(pictures, other)) == (b"one", b"other")


def test_the_stream_is_bounded_in_age_bytes_and_number() -> None:
    settings = TopologySettings(pictures_max_age=60, pictures_max_bytes=1000, pictures_max_messages=7)

    (declared,) = [each for each in streams(settings) if each.name == PICTURES]

    config = declared.config
    assert (config["max_age"], config["max_bytes"], config["max_msgs"]) == (60_000_000_000, 1000, 7)
    assert config["storage"] == "file" and config["discard"] == "old" and config["max_msgs_per_subject"] == 1


def test_a_link_opens_its_own_picture_until_it_expires() -> None:
    link = link_to("job", "octane-main-1", "key", 1000, "https://edge.example/")
    signature = link.rpartition("=")[2]

    assert link.startswith("https://edge.example/runs/octane-main-1/picture?domain=job&expires=1000&signature=")
    assert is_signed("job", "octane-main-1", "key", 1000, signature, now=999)
    assert not is_signed("job", "octane-main-1", "key", 1000, signature, now=1000)
    assert not is_signed("job", "octane-main-1", "key", 2000, signature, now=999)
    assert not is_signed("job", "octane-main-2", "key", 1000, signature, now=999)
    assert not is_signed("agent", "octane-main-1", "key", 1000, signature, now=999)
    assert not is_signed("job", "octane-main-1", "another", 1000, signature, now=999)
    assert not is_signed("job", "octane-main-1", "key", 1000, "é" * 40, now=999)


async def test_the_key_of_a_run_s_picture_stays_with_it(broker: Broker, entity: str) -> None:
    pictures, key = LastPictures(broker), PictureKey.of_run("job", entity)

    first: KeptPicture = await pictures.keep(key, FRAME, b"1")
    second = await pictures.keep(key, FRAME, b"2")
    other = await pictures.keep(PictureKey.of_run("job", f"{entity}-2"), FRAME, b"2")

    assert first.key == second.key != other.key and first.etag != second.etag == other.etag
