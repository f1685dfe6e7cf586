"""A real browser at a secured edge: the console with a token, and native EventSource and WebSocket through reconnects."""

from __future__ import annotations

from typing import Any

import pytest

from edge.settings import SessionSettings
from router.broker import Broker
from router.event import Event
from router.frame import frame_subject, pack
from tests.browser.conftest import Tab, browser, chromium, tab  # noqa: F401
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, token
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ALL: dict[str, Any] = {"read": [">"], "publish": [">"], "operate": True}


def _unexpected(tab: Tab) -> list[str]:  # noqa: F811
    """What the browser complained of, without the refusals that a test asks for."""
    return [said for said in tab.complaints if "401" not in said]


async def test_the_console_asks_for_a_token_and_lives_by_it(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/console/events")
        await tab.until("() => callboard.client.state.phase === 'refused'")
        await tab.page.wait_for_selector("form input[type=password]", state="visible")
        await tab.page.fill("form input[type=password]", token("alice", **ALL))
        await tab.page.click("form.login button")
        await tab.until(
            "() => callboard.client.state.phase === 'live' && callboard.client.state.transport === 'websocket'"
        )
        await edge.as_("producer", publish=["job.>"]).publish(
            {"subject": f"job.{entity}.output", "data": {"line": "hi"}}
        )
        await tab.until(f"() => document.querySelector('#stream').textContent.includes('{entity}')")
        assert await tab.page.query_selector("form input[type=password]:visible") is None
        # A reload finds the token again.
        await tab.page.reload()
        await tab.until("() => callboard.client.state.phase === 'live'")
        # While there is an edge: the page looks for it as soon as it is gone.
        assert _unexpected(tab) == []


async def test_the_console_shows_pictures_by_tickets_and_takes_a_token_from_behind_the_hash(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    broker_settings: Any,
    entity: str,
) -> None:
    from io import BytesIO

    from PIL import Image

    picture = BytesIO()
    Image.effect_noise((128, 96), 80).save(picture, "JPEG")
    frame = pack({"seq": 1, "time": 1.5, "width": 128, "height": 96, "format": "jpeg"}, picture.getvalue())
    async with Broker(broker_settings, "camera") as store, secured() as edge:
        await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
        alice = token("alice", read=[f"camera.{entity}.>"])
        # Nobody encodes H.264 here.
        await tab.page.add_init_script("sessionStorage.setItem('callboard.camera.transport', 'jpeg')")
        await tab.page.goto(f"{edge.url}/console/cameras#token={alice}")
        await tab.until("() => callboard.client.state.phase === 'live'")

        async def drawn() -> bool:
            await store.frame(frame_subject("camera", entity), frame)
            return await tab.page.evaluate("() => document.querySelector('#camera canvas')?.width === 128")

        await eventually(drawn)
        assert "token" not in tab.page.url and alice not in tab.page.url
        assert _unexpected(tab) == []


async def _natively(tab: Tab, edge: SecuredEdge, entity: str, open_: str) -> None:  # noqa: F811
    """Opens a stream in the page by its own means; the server asks it to come back again and again."""
    alice = edge.as_("alice", ttl=600, read=["job.>"], publish=["job.>"])
    session = await alice.session(subjects=[f"job.{entity}.>"])
    ticket = (await alice.http.post("/tickets", json={"session_id": session})).json()["ticket"]
    await tab.page.goto(f"{edge.url}/openapi.json")
    await tab.page.evaluate(open_, f"/callbacks/sessions/{session}/%s?ticket={ticket}")
    for opened in range(1, 4):
        await alice.numbers(entity, 5, start=10 * opened)
        await tab.until("(n) => window.opened >= n", opened)
        await alice.numbers(entity, 5, start=10 * opened + 5)
        await tab.until("(n) => window.seen.length >= n", 10 * opened)

    assert await tab.page.evaluate("() => window.seen") == list(range(10, 40))


@pytest.mark.slow
async def test_a_native_eventsource_comes_back_with_its_spent_ticket(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured(session=SessionSettings(heartbeat=0.2, rotate=0.8)) as edge:
        await _natively(
            tab, edge, entity,
            """(url) => {
              window.seen = []; window.opened = 0;
              const source = new EventSource(url.replace("%s", "sse"));
              source.onopen = () => { window.opened += 1; };
              source.onmessage = ({ data }) => window.seen.push(JSON.parse(data).data.n);
            }""",
        )  # fmt: skip


@pytest.mark.slow
async def test_a_native_websocket_comes_back_to_the_same_address_with_a_cursor(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured(session=SessionSettings(heartbeat=0.2, rotate=0.8)) as edge:
        await _natively(
            tab, edge, entity,
            """(url) => {
              window.seen = []; window.opened = 0;
              let cursor = "";
              const open = () => {
                const socket = new WebSocket(`${location.origin.replace("http", "ws")}${url.replace("%s", "ws")}${cursor}`);
                socket.onmessage = ({ data }) => {
                  const said = JSON.parse(data);
                  if (said.control === "ready") window.opened += 1;
                  if (said.control) return;
                  window.seen.push(said.data.n);
                  cursor = `&cursor=${said.cursor}`;
                };
                socket.onclose = () => setTimeout(open, 50);
              };
              open();
            }""",
        )  # fmt: skip
