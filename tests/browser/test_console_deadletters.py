"""Tests of the place Dead letters: counted, searched, shown, sent again, deleted; and what it says where it can show none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from router.broker import Broker
from router.deadletter import actor_subject, webhook_subject
from tests.axe import serious
from tests.browser.conftest import Tab, Wire
from tests.browser.standin import Standin
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory, secured, token
from tests.edge.http.test_deadletters import bury
from tests.waiting import eventually, unhurried

__all__ = ["secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ROWS = "#deadletters .table tbody tr"


@pytest_asyncio.fixture(loop_scope="module")
async def edge(secured: SecuredFactory) -> AsyncIterator[SecuredEdge]:
    async with secured() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def letters(nats_server: str) -> AsyncIterator[Broker]:
    async with Broker(unhurried(nats_server), "letters") as broker:
        yield broker


async def open_letters(tab: Tab, edge: SecuredEdge, query: str, **grants: Any) -> None:
    """Opens the place as somebody whose token comes with the address."""
    rights = grants or {"read": [">"], "operate": True}
    await tab.page.goto(f"{edge.url}/console/deadletters{query}#token={token('root', ttl=600, **rights)}")
    await tab.until("() => callboard.client.state.phase === 'live'")


async def until_rows(tab: Tab, count: int) -> None:
    await tab.until("([rows, count]) => document.querySelectorAll(rows).length === count", [ROWS, count])


async def test_letters_are_counted_by_reason_narrowed_and_found_by_a_text(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    await bury(letters, webhook_subject(entity), 2, reason="exhausted", detail="server_error (HTTP 500)")
    await bury(letters, webhook_subject(entity), 1, reason="gone", detail=f"Nobody lives at {entity} any more")
    await open_letters(tab, edge, f"?name={entity}")
    await until_rows(tab, 3)

    await tab.page.click('#deadletters .chip[data-reason="gone"]')
    await until_rows(tab, 1)
    gone = await tab.page.inner_text(ROWS)
    address = await tab.page.evaluate("location.search")
    await tab.page.click('#deadletters .chip[data-reason="gone"]')
    await until_rows(tab, 3)
    await tab.page.fill("#deadletters input[name=text]", f"LIVES AT {entity}")
    await until_rows(tab, 1)
    await tab.page.fill("#deadletters input[name=text]", "nothing of it")
    await tab.page.wait_for_selector("#deadletters >> text=No dead letter matches")

    assert "The receiver is gone" in gone and "reason=gone" in address
    assert tab.complaints == []


async def test_one_letter_says_why_it_was_given_up_and_what_to_do(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    evil = "<img src=x onerror='window.hurt = true'>"
    ((id, event),) = await bury(letters, webhook_subject(entity), reason="exhausted", detail=evil, data={"said": evil})
    await open_letters(tab, edge, f"?name={entity}")
    await until_rows(tab, 1)

    await tab.page.focus(ROWS)
    await tab.page.keyboard.press("Enter")
    await tab.page.wait_for_selector(".why-card")
    page = await tab.page.inner_text("#deadletters")

    assert (await tab.page.evaluate("location.pathname")) == f"/console/deadletters/{id}"
    assert "All attempts failed" in page and "Mend the receiver" in page and evil in page
    assert event.subject in page and "https://example.com/hook" in page
    assert await tab.page.evaluate("document.querySelectorAll('main img').length") == 0
    assert await tab.page.evaluate("window.hurt") is None
    await tab.page.go_back()
    await until_rows(tab, 1)


async def test_many_letters_are_paged_through_in_both_directions(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    buried = await bury(letters, actor_subject(entity), 120, reason="rejected")
    await open_letters(tab, edge, f"?name={entity}")
    seen: list[str] = []

    for page, count in enumerate((50, 50, 20)):
        await until_rows(tab, count)
        shown = await tab.page.eval_on_selector_all(ROWS, "rows => rows.map(row => row.dataset.key)")
        seen += shown
        if page < 2:
            await tab.page.click("#deadletters .pages >> text=Older")
            await tab.until("([row, key]) => document.querySelector(row)?.dataset.key !== key", [ROWS, shown[0]])
    await tab.page.click("#deadletters .pages >> text=Newer")
    await until_rows(tab, 50)

    assert [int(id) for id in seen] == [id for id, _ in reversed(buried)]


async def test_a_selection_is_tried_and_sent_again_to_its_receiver_and_only_it(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    asked: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        asked.append((await request.read()).decode())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        root = edge.as_("root", ttl=600, read=[">"], operate=True)
        spec = {"delivery_method": "webhook", "webhook_url": hook, "subjects": [f"job.{entity}.>"]}
        made = await root.http.post("/callbacks/sessions", json=spec)
        session = made.raise_for_status().json()["session_id"]
        buried = await bury(letters, webhook_subject(session), 3)
        await open_letters(tab, edge, f"?name={session}")
        await until_rows(tab, 3)
        for row in (0, 2):
            await tab.page.locator(f"{ROWS} input").nth(row).check()

        await tab.page.click("#deadletters >> text=Send 2 again…")
        await tab.page.click("dialog .try")
        await tab.page.wait_for_selector("dialog >> text=2 of 2 would be sent again.")
        tried = len(asked)
        await tab.page.click("dialog .send")
        await tab.page.wait_for_selector(".jobs li >> text=2 of 2 sent again.")
        await until_rows(tab, 1)

        assert tried == 0
        await eventually(lambda: len(asked) == 2)
        sent = {event.id for _, event in (buried[0], buried[2])}
        assert all(any(id in body for body in asked) for id in sent)
        assert tab.complaints == []
    finally:
        await runner.cleanup()


async def test_a_purge_deletes_what_matches_only_after_it_was_typed(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    await bury(letters, actor_subject(entity), 3, reason="rejected")
    ((other, _),) = await bury(letters, actor_subject(f"other{entity}"), reason="rejected")
    await open_letters(tab, edge, "")
    await tab.page.wait_for_selector(ROWS)

    # At once: what was just typed is what the button means.
    await tab.page.fill("#deadletters input[name=name]", entity)
    await tab.page.click("#deadletters >> text=Delete all…")
    await tab.page.wait_for_selector("dialog >> text=3 dead letters will be deleted.")
    before = await tab.page.is_disabled("dialog .danger")
    await tab.page.keyboard.type("delete")
    assert await serious(tab.page) == []
    await tab.page.keyboard.press("Enter")
    await tab.page.wait_for_selector("#deadletters >> text=No dead letter matches")

    assert before
    kept = await edge.as_("root", operate=True).http.get(f"/deadletters/{other}")
    assert kept.status_code == 200


async def test_a_letter_that_is_refused_says_so_in_the_dialog(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str
) -> None:
    ((id, _),) = await bury(letters, webhook_subject(entity), redrives=5)
    await open_letters(tab, edge, f"/{id}")

    await tab.page.click("#deadletters >> text=Send again…")
    await tab.page.click("dialog .send")

    await tab.page.wait_for_selector("dialog .said.bad >> text=force sends it once more")
    tab.complaints[:] = [each for each in tab.complaints if "409" not in each]


async def test_a_token_without_the_right_is_told_that_it_must_operate(tab: Tab, edge: SecuredEdge) -> None:
    await open_letters(tab, edge, "", read=["job.>"])

    await tab.page.wait_for_selector("#deadletters .state[data-kind=denied]")
    assert "the right to operate" in await tab.page.inner_text("#deadletters")


async def test_a_letter_that_is_gone_is_said_to_be_missing(tab: Tab, edge: SecuredEdge) -> None:
    await open_letters(tab, edge, "/999999999")

    await tab.page.wait_for_selector("#deadletters .state[data-kind=missing]")


SUMMARY = {"total": 0, "by_reason": {}, "fullness": 0.93, "bytes": 930, "max_bytes": 1000, "oldest": None}


def answers(standin: Standin, page: Callable[[], Any]) -> None:
    """Lets the server answer as if it had no dead letters; the page of them is what a test says."""

    async def handler(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/deadletters/summary":
                return web.json_response(SUMMARY)
            case "/deadletters/jobs":
                return web.json_response({"jobs": []})
        given: web.StreamResponse = await page()
        return given

    for path in ("/deadletters", "/deadletters/summary", "/deadletters/jobs"):
        standin.extra[path] = handler


async def test_loading_a_fault_and_nothing_are_three_different_things(tab: Tab, standin: Standin) -> None:
    let_go = asyncio.Event()
    broken = True

    async def page() -> web.StreamResponse:
        await let_go.wait()
        if broken:
            problem = {"code": "internal", "title": "Internal error", "detail": "the store is being repaired"}
            return web.json_response(problem, status=500, content_type="application/problem+json")
        return web.json_response({"deadletters": [], "next": None})

    answers(standin, page)
    await tab.page.goto(f"{standin.url}/console/deadletters")

    await tab.page.wait_for_selector("#deadletters .state[data-kind=loading]")
    # Once that is shown, nothing reads the list anew by itself.
    await tab.page.wait_for_selector("#deadletters .fullness:visible")
    let_go.set()
    await tab.page.wait_for_selector("#deadletters .state[data-kind=failed]")
    assert "The store is being repaired." in await tab.page.inner_text("#deadletters")
    assert "93 % full" in await tab.page.inner_text("#deadletters .fullness")
    broken = False
    await tab.page.click("#deadletters >> text=Try again")
    await tab.page.wait_for_selector("#deadletters .state[data-kind=empty]")
    assert "No dead letters" in await tab.page.inner_text("#deadletters")


async def test_offline_the_letters_that_are_shown_stay(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str, wire: Callable[[str], Wire]
) -> None:
    await bury(letters, actor_subject(entity), 2, reason="rejected")
    async with wire(edge.url) as relay:
        rights = token("root", ttl=600, read=[">"], operate=True)
        await tab.page.goto(f"{relay.url}/console/deadletters?name={entity}#token={rights}")
        await until_rows(tab, 2)
        relay.hold()

        await tab.page.wait_for_selector("#banner:visible")
        assert await tab.page.locator(ROWS).count() == 2
        relay.release()
        await tab.page.wait_for_selector("#banner", state="hidden")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_no_serious_barrier_is_found_in_the_list_a_dialog_and_a_letter(
    tab: Tab, edge: SecuredEdge, letters: Broker, entity: str, scheme: str
) -> None:
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await bury(letters, webhook_subject(entity), detail="server_error (HTTP 500)", redrives=2)
    await open_letters(tab, edge, f"?name={entity}")
    await until_rows(tab, 1)

    assert await serious(tab.page) == []
    await tab.page.click("#deadletters >> text=Send all again…")
    assert await serious(tab.page) == []
    await tab.page.keyboard.press("Escape")
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    assert await serious(tab.page) == []
    await tab.page.click(f"{ROWS} a")
    await tab.page.wait_for_selector(".why-card")
    assert await serious(tab.page) == []
