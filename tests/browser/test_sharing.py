"""Tests that all tabs and subscriptions of an origin read by one connection, each from its own place and at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.browser.conftest import Tab
from tests.browser.standin import Standin
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

OpenTab = Callable[[], Awaitable[Tab]]

BOARD = """async (options) => {
  const { Board } = await import("/client.js");
  window.board = new Board(location.origin, { backoff: { base: 20, cap: 200 }, ...options });
  window.seen = {};
  window.read = (name, spec) => {
    seen[name] = [];
    const one = board.subscribe(spec, (event) => seen[name].push(event.data.n));
    (window.subscriptions ??= {})[name] = one;
  };
}"""


@pytest_asyncio.fixture(loop_scope="module")
async def tabs(browser: Browser, standin: Standin) -> AsyncIterator[OpenTab]:
    """Opens tabs of one profile on an empty page of the stand-in."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    standin_modules = f"{standin.url}/blank"

    async def open_tab() -> Tab:
        tab = Tab(await context.new_page())
        tab.page.on("pageerror", tab.failed)
        await tab.page.goto(standin_modules)
        return tab

    yield open_tab
    await context.close()


async def read(tab: Tab, name: str, **spec: Any) -> None:
    await tab.page.evaluate("([name, spec]) => void read(name, spec)", [name, spec])


async def live(tab: Tab, name: str) -> None:
    await tab.until("(name) => subscriptions[name].state.phase === 'live'", name)


async def saw(tab: Tab, name: str, wanted: list[int]) -> None:
    await tab.until("([name, count]) => seen[name].length >= count", [name, len(wanted)])
    assert await tab.page.evaluate("(name) => seen[name]", name) == wanted


async def say(standin: Standin, entity: str, *numbers: int) -> None:
    for n in numbers:
        await standin.publish(f"job.{entity}.output", {"n": n})


@pytest.mark.parametrize("share", ["worker", "broadcast"])
async def test_three_tabs_read_by_one_connection(tabs: OpenTab, standin: Standin, share: str) -> None:
    opened = [await tabs() for _ in range(3)]

    for tab in opened:
        await tab.page.evaluate(BOARD, {"share": share})
        await read(tab, "all", subjects=["job.>"])
        await live(tab, "all")
    await say(standin, "a", *range(5))

    for tab in opened:
        await saw(tab, "all", list(range(5)))
    assert (standin.most_open, len(standin.opened)) == (1, 1)


async def test_the_tab_that_leads_may_go_and_the_others_miss_nothing(tabs: OpenTab, standin: Standin) -> None:
    leading, following = await tabs(), await tabs()
    for tab in (leading, following):
        await tab.page.evaluate(BOARD, {"share": "broadcast"})
        await read(tab, "all", subjects=["job.>"])
        await live(tab, "all")
    await say(standin, "a", *range(3))
    await saw(following, "all", [0, 1, 2])

    await leading.page.close()
    await say(standin, "a", *range(3, 6))

    await saw(following, "all", list(range(6)))
    await eventually(lambda: standin.open_now == 1)


async def test_a_subscription_that_comes_later_reads_its_past_and_goes_on_without_a_gap(
    tabs: OpenTab, standin: Standin
) -> None:
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await say(standin, "b", *range(10))
    await read(tab, "a", subjects=["job.a.>"])
    await live(tab, "a")
    telling = asyncio.ensure_future(say(standin, "b", *range(10, 200)))

    await read(tab, "b", subjects=["job.b.>"], cursor=standin.cursor(0))
    await telling
    await say(standin, "a", *range(5))

    await saw(tab, "b", list(range(200)))
    await saw(tab, "a", list(range(5)))
    await eventually(lambda: standin.open_now == 1)


async def test_the_newest_come_first_to_who_asks_for_the_last_ones(tabs: OpenTab, standin: Standin) -> None:
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await say(standin, "a", *range(10))

    await read(tab, "a", subjects=["job.a.>"], last=4)
    await saw(tab, "a", [6, 7, 8, 9])
    await say(standin, "a", 10)

    await saw(tab, "a", [6, 7, 8, 9, 10])


async def test_the_past_of_a_subscription_costs_one_request_and_no_session(tabs: OpenTab, standin: Standin) -> None:
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await say(standin, "a", *range(10))
    await read(tab, "all", subjects=["job.>"])
    await live(tab, "all")

    for name, spec in (("last", {"last": 4}), ("cursor", {"cursor": standin.cursor(6)})):
        await read(tab, name, subjects=["job.a.>"], **spec)
        await saw(tab, name, [6, 7, 8, 9])
        await live(tab, name)

    assert (standin.created, len(standin.opened)) == (1, 1)
    assert [page["subjects"] for page in standin.pages] == ["job.a.>"] * 2
    assert await tab.page.evaluate(
        "board.history(['job.a.>'], 2).then((events) => events.map(({ data }) => data.n))"
    ) == [8, 9]


async def test_a_slow_loop_gets_all_in_order_and_holds_nobody_back(tabs: OpenTab, standin: Standin) -> None:
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await read(tab, "quick", subjects=["job.a.>"])
    await tab.page.evaluate("""() => {
      window.slow = board.subscribe({ subjects: ["job.a.>"] });
      window.got = [];
      window.gate = new Promise((open) => (window.open_gate = open));
      (async () => {
        for await (const event of slow) {
          got.push(event.data.n);
          if (got.length === 1) await gate;
        }
      })();
    }""")
    await live(tab, "quick")
    await tab.until("() => slow.state.phase === 'live'")
    await say(standin, "a", 0)
    await tab.until("() => got.length === 1")

    await say(standin, "a", *range(1, 4000))
    await saw(tab, "quick", list(range(4000)))
    handed = await tab.page.evaluate("slow.stats.events")
    await tab.page.evaluate("open_gate()")
    await tab.until("() => got.length >= 4000")

    assert await tab.page.evaluate("got") == list(range(4000))
    # What one subscription may have unread, and the buffer of one that reads from the store.
    assert handed <= 2000


async def test_the_last_page_that_is_left_deletes_the_session_and_one_of_two_does_not(
    tabs: OpenTab, standin: Standin
) -> None:
    first, second = await tabs(), await tabs()
    for tab in (first, second):
        await tab.page.evaluate(BOARD, {"share": "worker", "name": "Wall display"})
        await read(tab, "all", subjects=["job.>"])
        await live(tab, "all")
    (session,) = standin.sessions

    await first.page.reload()
    await say(standin, "a", 0)
    await saw(second, "all", [0])
    kept = dict(standin.sessions)
    await second.page.reload()

    assert [(each, spec["name"]) for each, spec in kept.items()] == [(session, "Wall display")]
    await eventually(lambda: session not in standin.sessions)


async def test_a_cursor_outlives_the_page(tabs: OpenTab, standin: Standin) -> None:
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await read(tab, "a", subjects=["job.a.>"], persist="mine")
    await live(tab, "a")
    await say(standin, "a", 0, 1)
    await saw(tab, "a", [0, 1])
    await tab.until("() => localStorage.getItem('callboard.cursor.mine')")
    await tab.page.evaluate("board.close()")

    await say(standin, "a", 2, 3)
    await tab.page.reload()
    await tab.page.evaluate(BOARD, {})
    await read(tab, "a", subjects=["job.a.>"], persist="mine")

    await saw(tab, "a", [2, 3])


async def test_a_server_that_answers_no_ping_is_left_for_a_new_connection(tabs: OpenTab, standin: Standin) -> None:
    standin.heartbeat_seconds = 0.8
    tab = await tabs()
    await tab.page.evaluate(BOARD, {})
    await read(tab, "a", subjects=["job.a.>"])
    await live(tab, "a")

    standin.mute, standin.pings = True, 0
    await eventually(lambda: len(standin.opened) >= 2)
    standin.mute = False
    await say(standin, "a", 0)

    await saw(tab, "a", [0])
    assert standin.pings


async def test_a_page_that_is_hidden_for_long_rests_and_goes_on_where_it_was(tabs: OpenTab, standin: Standin) -> None:
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    tab = await tabs()
    await tab.page.evaluate(BOARD, {"pauseHidden": 50})
    await read(tab, "a", subjects=["job.a.>"])
    await live(tab, "a")

    await tab.page.evaluate(hide, True)
    await tab.until("() => subscriptions.a.state.phase === 'paused'")
    await eventually(lambda: standin.open_now == 0)
    await say(standin, "a", 0, 1)
    await tab.page.evaluate(hide, False)

    await saw(tab, "a", [0, 1])


async def test_six_tabs_by_server_sent_events_leave_connections_for_other_requests(
    tabs: OpenTab, standin: Standin
) -> None:
    opened = [await tabs() for _ in range(6)]

    for tab in opened:
        await tab.page.evaluate(BOARD, {"transport": "sse"})
        await read(tab, "a", subjects=["job.>"])
        await live(tab, "a")

    for tab in opened:
        assert await tab.page.evaluate("fetch('/runs').then((answer) => answer.status)") == 200
    assert standin.opened == ["sse"]


async def test_other_streams_are_read_once_for_all_tabs_and_wait_for_one_another(
    tabs: OpenTab, standin: Standin
) -> None:
    opened: list[str] = []

    async def endless(request: web.Request) -> web.StreamResponse:
        opened.append(request.path)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b'data: {"n": 1}\nid: 1\n\n')
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b": here\n")
                await asyncio.sleep(0.5)
        return answer

    standin.extra = {f"/documents/{n}": endless for n in range(6)}
    both = [await tabs() for _ in range(2)]
    for tab in both:
        await tab.page.evaluate(BOARD, {})
        await tab.page.evaluate("""() => {
          window.sources = [0, 1, 2, 3, 4, 5].map((n) => board.source(`/documents/${n}`));
          window.heard = sources.map((source, n) => (source.on("message", () => (heard[n] = true)), false));
        }""")
    for tab in both:
        await tab.until("() => heard.filter(Boolean).length === 3")
        assert await tab.page.evaluate("fetch('/runs').then((answer) => answer.status)") == 200
    assert len(opened) == 3

    for tab in both:
        await tab.page.evaluate("sources.slice(0, 3).forEach((source) => source.close())")
    for tab in both:
        await tab.until("() => heard.every(Boolean)")
    assert sorted(opened) == sorted(f"/documents/{n}" for n in range(6))


async def test_who_has_another_token_reads_by_another_connection(tabs: OpenTab, standin: Standin) -> None:
    one, other = await tabs(), await tabs()

    for tab, token in ((one, "of-alice"), (other, "of-bob")):
        await tab.page.evaluate(BOARD, {"token": token})
        await read(tab, "a", subjects=["job.>"])
        await live(tab, "a")

    assert standin.most_open == 2
