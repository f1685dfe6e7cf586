"""Tests of the console's events: the whole stream by cursor, filters, comparison, causes, and a page that cannot keep up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Route

from tests.axe import serious
from tests.browser.conftest import Tab
from tests.browser.test_console_page import DRAWN, RunningCallboard, numbers, open_console, publish, run
from tests.waiting import PATIENCE, eventually, in_time

__all__ = ["run"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MANY = 3_000
# Sixty frames a second with 8 ms of work in each: the CPU time that the page's main thread may take of a second.
WORK = 60 * 0.008


# Scrolls to the list's end, less than a view at a time; gives the `n` of all rows that were drawn.
READ_ON = f"""async () => {{
  const {{ log, rows }} = callboard.events;
  const read = new Set();
  for (let step = 0; step < 2000; step += 1) {{
    await new Promise((drawn) => requestAnimationFrame(drawn));
    ({DRAWN})().forEach((n) => read.add(n));
    if (log.live && rows.atFoot) break;
    if (!log.busy.ahead) rows.element.scrollBy(0, rows.element.clientHeight / 2);
  }}
  return [...read];
}}"""


# A page that is given no frames, such as one behind another window; counts what it takes meanwhile.
WITHOUT_FRAMES = """(() => {
  globalThis.held = [];
  globalThis.taken = 0;
  globalThis.draw = requestAnimationFrame;
  requestAnimationFrame = (frame) => held.push(frame);
  callboard.events.pace.count = () => (taken += 1);
})()"""


async def events(url: str, **query: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        answer = (await http.get("/events", params=query)).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["events"]
        return found


async def open_run(tab: Tab, url: str, run: str, more: str = "") -> None:
    await open_console(tab, url, f"events?subject=job.{run}.output{more}")
    await tab.until("() => callboard.events?.log.live")


async def test_the_list_scrolls_back_through_all_that_is_kept_without_a_gap(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    for first in range(0, MANY, 500):
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(first, first + 500)))
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().at(-1) === {MANY - 1}")

    found = "() => callboard.events.log.entries[0]?.event.data.n === 0"
    for _ in range(60):
        await tab.page.evaluate("document.querySelector('#stream .scroll').scrollTop = 0")
        if await tab.page.evaluate(f"({found})()"):
            break
        await tab.until("() => !callboard.events.log.busy.back")
    await tab.until(found)

    assert await tab.page.evaluate(numbers(run)) == list(range(MANY))
    await tab.page.evaluate("document.querySelector('#stream .scroll').scrollTop = 0")
    await tab.until(f"() => ({DRAWN})()[0] === 0")
    assert await tab.page.evaluate("document.querySelectorAll('#stream .events > li').length") < 100


async def test_a_reader_who_goes_on_through_the_past_misses_nothing_where_the_list_lets_the_oldest_go(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    for first in range(0, 2_000, 500):
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(first, first + 500)))
    begin = (await events(running_callboard.url, subjects=f"job.{run}.output", cursor="earliest", limit=1))[0]["cursor"]
    await open_console(tab, running_callboard.url, f"events?subject=job.{run}.output&at={begin}")
    await tab.until(f"() => ({DRAWN})()[0] === 0")
    # Less than the page keeps of a real stream, so that it lets go of some.
    await tab.page.evaluate("callboard.events.log.kept = 1100")

    read = set(await tab.page.evaluate(READ_ON))

    assert read == set(range(2_000))
    assert await tab.page.evaluate("callboard.events.log.entries.length") == 1100
    shown = await tab.page.inner_text('#stream .chip[data-type="output"] .count')
    assert int(shown.replace(",", "")) == await tab.page.evaluate(f"({numbers(run)})().length")


async def test_the_rail_goes_to_any_place_in_the_stream_and_back_to_what_is_new(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(300)))
    # So many that the list, which looks back over 600 events at first, has mostly not read as far as where it is to go.
    await publish(running_callboard.url, f"job.{run}-other.output", *({"n": n} for n in range(400)))
    published = await events(running_callboard.url, subjects=f"job.{run}.output", cursor="earliest", limit=300)
    place = int(published[50]["cursor"].split("-")[2], 16)
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({DRAWN})().at(-1) === 299")
    rail = """(sequence) => {
      const rail = document.querySelector("#stream .rail");
      rail.value = sequence ?? rail.max;
      rail.dispatchEvent(new Event("change"));
    }"""

    await tab.page.evaluate(rail, place)
    await tab.until(f"() => ({DRAWN})().includes(50) && !callboard.events.log.opening")
    assert "at=1-" in tab.page.url
    assert not await tab.page.is_visible("aside.detail")
    await tab.page.evaluate(rail, None)

    await tab.until(f"() => ({DRAWN})().at(-1) === 299 && callboard.events.log.live")


@pytest.mark.parametrize("by", ["cursor", "id"])
async def test_a_link_to_an_event_opens_it_among_those_before_and_after(
    tab: Tab, running_callboard: RunningCallboard, run: str, by: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(20)))
    chosen = (await events(running_callboard.url, subjects=f"job.{run}.output", cursor="earliest", limit=100))[7]

    await open_console(tab, running_callboard.url, f"events/{chosen[by]}")

    await tab.page.wait_for_selector("#stream aside.detail:visible")
    await tab.until(
        "(id) => document.querySelector('#stream aside.detail pre')?.textContent.includes(id)", chosen["id"]
    )
    assert {3, 7, 12} <= set(await tab.page.evaluate(numbers(run)))
    assert (await tab.page.evaluate("location.pathname")).endswith(chosen["cursor"])


async def test_from_here_on_leaves_out_what_was_before(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(6)))
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().length === 6")
    await tab.page.click("#stream li:not([hidden]) button.event >> nth=2")

    await tab.page.click("text=From here on")

    await tab.until("() => location.search.includes('from=')")
    await tab.until("() => callboard.events.log.live")
    await publish(running_callboard.url, f"job.{run}.output", {"n": 6})
    await tab.until(f"() => ({numbers(run)})().join() === '2,3,4,5,6'")


async def test_the_server_filters_by_cel_and_says_what_is_wrong_with_an_expression(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(10)))
    await open_run(tab, running_callboard.url, run)

    await tab.page.fill("#stream input[name=filter]", "data.n >= 8")
    await tab.until(f"() => ({numbers(run)})().join() === '8,9'")
    await publish(running_callboard.url, f"job.{run}.output", {"n": 5}, {"n": 12})
    await tab.until(f"() => ({numbers(run)})().join() === '8,9,12'")
    await tab.page.fill("#stream input[name=filter]", "data.n >=")

    await tab.page.wait_for_selector("#stream .refused:visible")
    assert await tab.page.get_attribute("#stream input[name=filter]", "aria-invalid") == "true"
    await tab.page.wait_for_selector("text=the server refuses the filter")
    assert not await tab.page.is_visible("text=Search further back")
    tab.complaints[:] = [each for each in tab.complaints if "422" not in each]


async def test_a_search_says_how_far_it_has_looked(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1, "line": f"needle of {run}"}, {"n": 2})
    await open_console(tab, running_callboard.url)
    await tab.until("() => callboard.events?.log.live")

    await tab.page.fill("#stream input[name=q]", f"needle of {run}")

    await tab.until(f"() => ({numbers(run)})().join() === '1'")
    await tab.page.wait_for_selector("#stream .foot >> text=/1 found in [\\d,]+ events, /")
    assert "q=needle" in tab.page.url


async def test_a_list_that_moves_while_it_is_opened_anew_reads_from_its_new_place(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n, "line": run} for n in range(40)))
    await open_console(tab, running_callboard.url)
    await tab.until("() => callboard.events?.log.live && !callboard.events.log.busy.back")
    held, moved = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        held.set()
        await moved.wait()
        await route.continue_()

    await tab.page.route("**/events?cursor=now*", hold)
    await tab.page.fill("#stream input[name=q]", run)
    await in_time(held.wait())
    await tab.page.evaluate("document.querySelector('#stream .scroll').dispatchEvent(new Event('scroll'))")
    moved.set()

    await tab.until(f"() => ({numbers(run)})().length === 40")
    assert await tab.page.evaluate(numbers(run)) == list(range(40))
    await publish(running_callboard.url, f"job.{run}.output", {"n": 40, "line": run})
    await tab.until(f"() => ({DRAWN})().at(-1) === 40")


async def test_the_demo_s_statistics_are_muted_until_they_are_asked_for(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url)
    await tab.until("() => callboard.events?.log.entries.length > 0")
    kinds = "() => callboard.events.log.entries.map(({ event }) => event?.event_type)"
    assert "statistics" not in await tab.page.evaluate(kinds)

    await tab.page.check("#stream input[name=demo]")

    await tab.until(f"() => ({kinds})().includes('statistics')")


async def test_two_events_are_compared_place_by_place(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    await publish(
        running_callboard.url, f"job.{run}.output", {"n": 1, "same": True}, {"n": 2, "same": True, "new": "here"}
    )
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().length === 2")

    await tab.page.click("#stream li:not([hidden]) button.event >> nth=0")
    await tab.page.click("text=Mark to compare")
    await tab.page.click("#stream li:not([hidden]) button.event >> nth=1")
    await tab.page.click("text=Compare with the marked one")

    rows = await tab.page.locator("dialog[open] tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [["data.n", "1", "2"], ["data.new", '"here"']]
    assert await serious(tab.page) == []


async def test_a_cause_chain_is_followed_in_both_directions(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1})
    (first,) = await events(running_callboard.url, subjects=f"job.{run}.output", cursor="earliest")
    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
        for n, cause in ((2, first["id"]),):
            body = {"subject": f"job.{run}.output", "type": "output", "data": {"n": n}, "cause": cause}
            second = (await http.post("/events", json=body)).raise_for_status().json()
        body = {"subject": f"job.{run}.output", "type": "output", "data": {"n": 3}, "cause": second["id"]}
        (await http.post("/events", json=body)).raise_for_status()
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().length === 3")
    await tab.page.click("#stream li:not([hidden]) button.event >> nth=1")

    await tab.page.click("text=Follow the cause chain")

    # What the agent says of the run names an output as its cause, too, where outputs come slowly.
    words = await tab.until(
        """() => {
          const rows = [...document.querySelectorAll(".chain li")].filter((row) => row.textContent.includes(".output"));
          return rows.length === 3 && rows.map((row) => row.querySelector(".word").textContent);
        }"""
    )
    assert words == ["cause", "this", "effect"]
    await tab.page.click(".chain .event-link >> nth=0")
    await tab.until("(id) => document.querySelector('aside.detail pre')?.textContent.includes(id)", first["id"])


async def test_what_is_copied_as_curl_works(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1, "line": 'it\'s "so"'})
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().length === 1")
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await tab.page.click("#stream li:not([hidden]) button.event >> nth=0")

    await tab.page.click("aside.detail >> text=Copy as curl")
    await shell(await tab.page.evaluate("navigator.clipboard.readText()"))
    await tab.until(f"() => ({numbers(run)})().length === 2")
    await tab.page.click(".foot >> text=Copy as curl")
    page = json.loads(await shell(await tab.page.evaluate("navigator.clipboard.readText()")))
    await publish(running_callboard.url, f"job.{run}.output", {"n": 2, "line": "it is not"})
    await tab.page.fill("#stream input[name=q]", "IT'S")
    await tab.page.wait_for_selector("#stream .foot >> text=2 found in 3 events")
    await tab.page.click(".foot >> text=Copy as curl")
    search = await tab.page.evaluate("navigator.clipboard.readText()")

    assert [event["data"]["line"] for event in page["events"]] == ['it\'s "so"'] * 2
    assert "jq --arg q 'it'\\''s'" in search
    if shutil.which("jq"):
        assert json.loads(await shell(search))["events"] == page["events"]


async def shell(command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await in_time(process.communicate())
    assert process.returncode == 0, (command, err)
    return out.decode()


# Counts the rows of which anything is written, until `written` is asked.
WATCH_ROWS = """(() => {
  const rows = new Set();
  const seen = (changes) => changes.forEach(({ target }) => rows.add((target.closest ? target : target.parentElement).closest("li")));
  const observer = new MutationObserver(seen);
  const list = document.querySelector("#stream .events");
  observer.observe(list, { attributes: true, characterData: true, childList: true, subtree: true });
  globalThis.written = () => {
    seen(observer.takeRecords());
    observer.disconnect();
    rows.delete(null);
    return rows.size;
  };
})()"""


async def test_an_event_that_comes_writes_its_own_row_and_leaves_the_others_alone(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(100)))
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({DRAWN})().at(-1) === 99 && !callboard.events.log.busy.back")
    await tab.page.evaluate(WATCH_ROWS)

    await publish(running_callboard.url, f"job.{run}.output", {"n": 100})
    await tab.until(f"() => ({DRAWN})().at(-1) === 100")

    # Its own; and where the tab key stops, which was one row before and is another one now.
    assert 1 <= await tab.page.evaluate("written()") <= 3


@contextlib.asynccontextmanager
async def flood(url: str, run: str, rate: int) -> AsyncIterator[None]:
    """Publishes so many events a second, as far as this machine can."""

    async def feed() -> None:
        begun, sent = time.monotonic(), 0
        while True:
            due = min(500, int((time.monotonic() - begun) * rate) - sent)
            if due > 0:
                await publish(url, f"job.{run}.output", *({"n": n} for n in range(sent, sent + due)))
                sent += due
            await asyncio.sleep(0.05)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


async def test_a_thousand_events_a_second_cost_a_frame_a_few_milliseconds_and_memory_is_bounded(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_run(tab, running_callboard.url, run)

    devtools = await tab.page.context.new_cdp_session(tab.page)
    await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def spent() -> float:
        metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    async with flood(running_callboard.url, run, 1_000):
        began, before = time.monotonic(), await spent()
        await tab.until("() => callboard.events.log.entries.length > 6000")
        work = (await spent() - before) / (time.monotonic() - began)
        rows = await tab.page.evaluate("document.querySelectorAll('#stream .events > li').length")

    assert work < WORK
    assert rows < 100
    got = await tab.page.evaluate(numbers(run))
    assert got == list(range(got[0], got[0] + len(got)))


async def test_a_page_that_drew_nothing_for_long_goes_on_at_the_newest(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_run(tab, running_callboard.url, run)
    await tab.page.evaluate(WITHOUT_FRAMES)

    # More than the page keeps of what it has not drawn.
    for first in range(0, 6_000, 1_000):
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(first, first + 1_000)))
    await eventually(lambda: tab.page.evaluate("taken > 5000"))
    await tab.page.evaluate("requestAnimationFrame = draw; held.forEach((frame) => draw(frame))")

    await tab.until(f"() => callboard.events.log.live && ({DRAWN})().at(-1) === 5999")
    got = await tab.page.evaluate(numbers(run))
    assert got == list(range(got[0], 6_000))


async def test_a_page_that_cannot_keep_up_asks_the_server_for_less_and_says_so(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_run(tab, running_callboard.url, run)

    # A slow machine, as the page measures it.
    await tab.page.evaluate("for (let n = 0; n < 12; n += 1) callboard.events.pace.frame(80, 1)")

    await tab.page.wait_for_selector("#stream .slowed:visible")

    async def asked() -> bool:
        async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as http:
            sessions = (await http.get("/callbacks/sessions", params={"limit": 1000})).json()["sessions"]
        return any(
            each["conflate"] and each["max_rate"] == 5 and each["subjects"] == [f"job.{run}.output"]
            for each in sessions
        )

    await eventually(asked)
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1})
    await tab.until(f"() => ({numbers(run)})().join() === '1'")
    await tab.page.click("#stream .slowed button")
    await tab.page.wait_for_selector("#stream .slowed", state="hidden")


async def test_a_page_of_one_frame_per_event_is_not_taken_for_a_slow_one(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_run(tab, running_callboard.url, run)

    for n in range(20):
        await publish(running_callboard.url, f"job.{run}.output", {"n": n})
        await tab.until(f"() => ({numbers(run)})().length === {n + 1}")

    assert not await tab.page.is_visible("#stream .slowed")


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1440), ("light", 1440), ("dark", 390)])
async def test_no_serious_barrier_is_found_on_the_events(
    tab: Tab, running_callboard: RunningCallboard, run: str, scheme: str, width: int
) -> None:
    await tab.page.set_viewport_size({"width": width, "height": 844})
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1}, {"n": 2})
    await open_run(tab, running_callboard.url, run)
    await tab.until(f"() => ({numbers(run)})().length === 2")

    assert await serious(tab.page) == []
    await tab.page.click("#stream li:not([hidden]) button.event >> nth=0")
    await tab.page.wait_for_selector("aside.detail pre")
    assert await serious(tab.page) == []
    assert tab.complaints == []
