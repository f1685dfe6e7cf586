"""The last picture of a run and of an Octane that is gone: with its age, conditionally, and by a signed link."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest

from edge.http import video
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from router.last_pictures import KeptPicture, LastPictures, PictureKey, link_to
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory
from tests.edge.conftest import RunningEdge, keep_picture

JPEG = b"\xff\xd8 a picture \xff\xd9"
HOUR_AGO = time.time() - 3600


def frame(**more: Any) -> dict[str, Any]:
    return {
        "time": HOUR_AGO * 1000,
        "format": "jpeg",
        "track": "beauty",
        "samples": 500,
        "max_samples": 500,
        "simulated": True,
        "rendered_by": "Octane 15.0 (main)",
        **more,
    }


@pytest.fixture
async def secure_edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    async with secured() as running:
        yield running


async def kept(broker: Broker, run: str, body: bytes = JPEG, **more: Any) -> KeptPicture:
    return await LastPictures(broker).keep(PictureKey.of_run("job", run), frame(**more), body)


async def test_the_picture_of_a_run_says_when_and_by_whom_it_was_rendered(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    await kept(broker, entity)

    answer = await edge.http.get(f"/runs/{entity}/picture")

    assert (answer.status_code, answer.content) == (200, JPEG)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["last-modified"] == formatdate(HOUR_AGO, usegmt=True)
    assert answer.headers["x-rendered-by"] == "Octane 15.0 (main)" and answer.headers["x-simulated"] == "true"
    assert answer.headers["x-samples"] == answer.headers["x-max-samples"] == "500"
    assert 3600 <= int(answer.headers["x-picture-age"]) <= time.time() - HOUR_AGO + 1


async def test_a_client_that_has_the_picture_is_told_so(edge: RunningEdge, broker: Broker, entity: str) -> None:
    await kept(broker, entity)
    first = await edge.http.get(f"/runs/{entity}/picture")

    async def asked(**headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await edge.http.get(f"/runs/{entity}/picture", headers=given)).status_code

    assert await asked(if_none_match=first.headers["etag"]) == 304
    assert await asked(if_none_match=f'W/{first.headers["etag"]}, "other"') == 304
    assert await asked(if_none_match='"other"', if_modified_since=first.headers["last-modified"]) == 200
    assert await asked(if_modified_since=first.headers["last-modified"]) == 304
    assert await asked(if_modified_since=formatdate(HOUR_AGO - 60, usegmt=True)) == 200
    assert await asked(if_modified_since="yesterday") == 200


async def test_names_that_are_no_ascii_cannot_break_the_headers(edge: RunningEdge, broker: Broker, entity: str) -> None:
    await kept(broker, entity, rendered_by="Oktan\r\nSet-Cookie: x=1 \N{SNOWMAN}")

    answer = await edge.http.get(f"/runs/{entity}/picture")

    assert answer.headers["x-rendered-by"] == "Oktan??Set-Cookie: x=1 ?" and "set-cookie" not in answer.headers


async def test_a_run_without_a_picture_is_a_404(edge: RunningEdge, entity: str) -> None:
    answer = await edge.http.get(f"/runs/{entity}/picture")

    assert (answer.status_code, answer.json()["code"]) == (404, "no_frame")


async def test_a_signed_link_needs_no_token_and_opens_this_picture_only(
    secure_edge: SecuredEdge, broker: Broker, entity: str
) -> None:
    picture = await kept(broker, entity)
    await kept(broker, f"{entity}-2")
    soon, past = int(time.time()) + 60, int(time.time()) - 1
    link = link_to("job", entity, picture.key, soon, secure_edge.url)

    assert (await secure_edge.http.get(link)).content == JPEG
    for wrong in (
        link.replace(entity, f"{entity}-2"),
        link.replace(f"expires={soon}", f"expires={soon + 60}"),
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.replace("domain=job", "domain=agent"),
        link_to("job", entity, picture.key, past, secure_edge.url),
        link_to("job", f"{entity}-3", picture.key, soon, secure_edge.url),
    ):
        answer = await secure_edge.http.get(wrong)
        assert (answer.status_code, answer.json()["code"]) == (403, "bad_picture_link"), wrong


async def test_without_a_signature_it_takes_a_token_that_may_read_the_run(
    secure_edge: SecuredEdge, broker: Broker, entity: str
) -> None:
    await kept(broker, entity)
    path = f"/runs/{entity}/picture"

    assert (await secure_edge.http.get(path)).json()["code"] == "token_required"
    assert (await secure_edge.as_("bob", read=[f"job.{entity}.>"]).http.get(path)).content == JPEG
    refused = await secure_edge.as_("eve", read=["job.other.>"]).http.get(path)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")


async def test_an_octane_that_is_gone_still_has_its_last_picture(
    edge: RunningEdge, broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "SNAPSHOT_SECONDS", 0.1)
    await broker.publish(Event.new(f"octane.{entity}.state", {"status": "absent"}, source="octane"))
    await LastPictures(broker).keep(PictureKey.of_track("octane", entity, "beauty"), frame(), JPEG)

    answer = await edge.http.get(f"/octane/{entity}/snapshot")

    assert (answer.status_code, answer.content) == (200, JPEG)
    assert answer.headers["last-modified"] == formatdate(HOUR_AGO, usegmt=True)
    assert answer.headers["x-picture"] == "kept"
    again = await edge.http.get(f"/octane/{entity}/snapshot", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_an_octane_of_whom_nothing_else_is_kept_any_more_has_its_last_picture(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    await LastPictures(broker).keep(PictureKey.of_track("octane", entity, "z_depth"), frame(track="z_depth"), JPEG)

    assert (await edge.http.get(f"/octane/{entity}/snapshot?pass=z_depth")).content == JPEG
    assert (await edge.http.get(f"/octane/{entity}/snapshot")).json()["code"] == "octane_not_found"


async def test_a_live_snapshot_says_when_it_was_rendered_too(edge: RunningEdge, broker: Broker, entity: str) -> None:
    await broker.publish(Event.new(f"octane.{entity}.state", {"status": "connected"}, source="octane"))
    await keep_picture(broker, frame_subject("octane", entity, "beauty"), pack(frame(source="octane"), JPEG))

    answer = await edge.http.get(f"/octane/{entity}/snapshot")

    assert (answer.content, answer.headers["x-picture"]) == (JPEG, "live")
    assert answer.headers["last-modified"] == formatdate(HOUR_AGO, usegmt=True)
    assert answer.headers["x-samples"] == "500" and answer.headers["cache-control"] == "no-store"
