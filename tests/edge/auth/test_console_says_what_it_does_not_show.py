"""The console says of each view whether there is no right to see it, no connection, or nothing there."""

from __future__ import annotations

from typing import Any

import pytest

from router.broker import Broker
from router.event import Event
from tests.browser.conftest import Tab, Wire, browser, chromium, tab  # noqa: F401
from tests.edge.auth.conftest import SecuredFactory, token

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

VIEWS = {"camera": "cameras", "render": "renders", "runs": "runs", "alerts": "alerts", "stream": "events"}
# The place that shows each view.
PLACES = {"camera": "cameras", "render": "renders", "runs": "runs", "alerts": "alerts", "stream": "events"}
NOTHING = {
    "camera": "No camera yet",
    "render": "No render yet",
    "runs": "Nothing is running",
    "alerts": "All quiet",
    "stream": "No event has come yet",
}
# What a view shows in the place of its list, and beside its heading.
SHOWN = """(id) => {
  const panel = document.getElementById(id);
  // What another part of the view has hidden is not said.
  const hidden = (each) => each.closest("[hidden]") && panel.contains(each.closest("[hidden]"));
  const lesson = [...panel.querySelectorAll(".lesson")].find((each) => !hidden(each));
  const heads = ".heading .badge:not([hidden]), .place-heading .badges .badge:not([hidden])";
  const badges = [...panel.querySelectorAll(heads)].map((badge) => badge.textContent).filter(Boolean);
  return { text: lesson?.innerText ?? "", kind: lesson?.dataset.kind ?? "", badges };
}"""


async def visit(tab: Tab, view: str) -> None:  # noqa: F811
    await tab.page.click(f"nav [data-place={PLACES[view]}]")
    await tab.page.wait_for_selector(f"#{view}", state="attached")


async def shown(tab: Tab, view: str) -> dict[str, Any]:  # noqa: F811
    found: dict[str, Any] = await tab.page.evaluate(SHOWN, view)
    return found


async def until(tab: Tab, view: str, kind: str) -> dict[str, Any]:  # noqa: F811
    """Goes to a view's place and waits until it says why it shows nothing; "" for nothing there."""
    await visit(tab, view)
    there = f"(id) => {{ const said = ({SHOWN})(id); return said.text && said.kind === '{kind}' && said; }}"
    found: dict[str, Any] = await tab.until(there, view)
    return found


def unlike_nothing(said: dict[str, Any], view: str) -> None:
    assert NOTHING[view] not in said["text"] and "all clear" not in said["badges"], said


async def test_without_a_token_every_view_says_that_one_is_needed(tab: Tab, secured: SecuredFactory) -> None:  # noqa: F811
    async with secured() as edge:
        await tab.page.goto(edge.url)

        for view, what in VIEWS.items():
            said = await until(tab, view, "denied")
            # The login view stands in the place of all of them.
            assert "This server shows events to people with a token" in await tab.page.inner_text(".gate")
            assert await tab.page.is_hidden("main")
            assert f"No {what} are shown without a valid token" in said["text"]
            assert "not shown" in said["badges"]
            unlike_nothing(said, view)
        assert await tab.page.title() == "(?) Events · Callboard"


async def test_a_token_that_may_not_read_a_view_is_told_so_there_and_nowhere_else(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    broker_settings: Any,
    entity: str,
) -> None:
    async with Broker(broker_settings, "camera") as store, secured() as edge:
        await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
        await tab.page.goto(f"{edge.url}/#token={token(entity, read=[f'camera.{entity}.>', 'job.nothing-here.>'])}")
        await tab.until("() => callboard.client.state.phase === 'live'")

        said = await until(tab, "render", "denied")
        assert f"Your token may not read {VIEWS['render']}" in said["text"] and f"camera.{entity}.>" in said["text"]
        assert "not shown" in said["badges"]
        unlike_nothing(said, "render")
        # Of alerts, every token may read those that are for its subject: nobody else's is this one, so there are none.
        for view in ("runs", "alerts"):
            said = await until(tab, view, "partial")
            assert f"None of the {view} that your token may read" in said["text"] and "in part" in said["badges"]
            unlike_nothing(said, view)
        await tab.until(f"() => callboard.store.cameras.has('{entity}')")
        await visit(tab, "camera")
        camera = await shown(tab, "camera")
        assert camera["text"] == "" and "in part" in camera["badges"]
        await tab.page.click(".pill")
        assert f"{entity} reads alert._{entity}.>, camera.{entity}.>" in await tab.page.inner_text("#connection")


@pytest.mark.slow
async def test_a_camera_whose_pictures_may_not_be_seen_says_so(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    broker_settings: Any,
    entity: str,
) -> None:
    async with Broker(broker_settings, "camera") as store, secured() as edge:
        await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
        await tab.page.goto(f"{edge.url}/console/cameras#token={token(entity, read=[f'camera.{entity}.state'])}")

        await tab.until("() => document.querySelector('#camera .condition')?.innerText.includes('not granted')")

        said = await tab.page.inner_text("#camera .condition")
        assert said.startswith(f"No picture is shown\nReading camera.{entity}."), said
        assert "Not shown" in (await shown(tab, "camera"))["badges"]
        # It is tried again, and said all the while.
        assert await tab.page.evaluate(CHANGES) == []


# What the badge and the condition of a camera say that is not what they said at first.
CHANGES = """() => new Promise((resolve) => {
  const read = () => document.querySelector("#camera .badge").textContent + document.querySelector("#camera .condition").innerText;
  const [first, others] = [read(), new Set()];
  const watch = new MutationObserver(() => read() !== first && others.add(read()));
  watch.observe(document.getElementById("camera"), { subtree: true, childList: true, characterData: true, attributes: true });
  setTimeout(() => resolve([...others]), 7000);
})"""


async def test_where_nothing_is_there_and_all_may_be_seen_every_view_says_that(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    own_nats: str,
) -> None:
    async with secured(nats=own_nats) as edge:
        await tab.page.goto(f"{edge.url}/#token={token('alice', read=['>'])}")
        await tab.until("() => callboard.client.state.phase === 'live'")

        for view in VIEWS:
            assert NOTHING[view] in (await until(tab, view, ""))["text"]
        await visit(tab, "alerts")
        # Until its list has been read, or while the page connects anew, the badge says that it is waiting.
        await tab.until(f"() => ({SHOWN})('alerts').badges.join() === 'all clear'")
        assert await tab.page.title() == "Alerts · Callboard"


async def test_without_a_connection_every_view_says_that_nothing_is_known(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    own_nats: str,
) -> None:
    async with secured(nats=own_nats) as edge, Wire(edge.url) as wire:
        await tab.page.goto(f"{wire.url}/#token={token('alice', read=['>'])}")
        for view in VIEWS:
            await visit(tab, view)
        await until(tab, "alerts", "")

        wire.cut()

        for view, what in VIEWS.items():
            if view == "stream":
                continue  # it shows that the connection was lost, as a note
            said = await until(tab, view, "unreachable")
            assert f"Which {what} there are is not known" in said["text"] and "not known" in said["badges"]
            unlike_nothing(said, view)

        wire.mend()

        assert NOTHING["alerts"] in (await until(tab, "alerts", ""))["text"]
        # Until its list has been read, or while the page connects anew, the badge says that it is waiting.
        await tab.until(f"() => ({SHOWN})('alerts').badges.join() === 'all clear'")


async def test_a_list_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    own_nats: str,
) -> None:
    async with secured(nats=own_nats) as edge:
        await tab.page.route(
            "**/alerts",
            lambda route: route.fulfill(status=503, json={"code": "broker_unavailable", "detail": "NATS is away"}),
        )
        await tab.page.goto(f"{edge.url}/#token={token('alice', read=['>'])}")

        said = await until(tab, "alerts", "unreachable")

        assert "NATS is away" in said["text"]
        unlike_nothing(said, "alerts")
        assert NOTHING["runs"] in (await until(tab, "runs", ""))["text"]
