"""Tests of the console at / as an operator uses it: a real browser on a running Callboard."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import httpx
import pytest

from tests.browser.conftest import Tab, Wire
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

# The mean brightness and the spread of what a canvas shows: a blank one has no spread.
SPREAD = """(selector) => {
  const canvas = document.querySelector(selector);
  if (!canvas || canvas.width < 64) return 0;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const values = [];
  for (let at = 0; at < pixels.length; at += 4 * 997) values.push(pixels[at] + pixels[at + 1] + pixels[at + 2]);
  return Math.max(...values) - Math.min(...values);
}"""


class RunningCallboard(Protocol):
    """What the fixture `running_callboard` of tests/conftest.py gives."""

    url: str


async def publish(url: str, subject: str, *many: dict[str, Any]) -> None:
    kind = subject.rsplit(".", 1)[1]
    body = [{"subject": subject, "type": kind, "data": data} for data in many]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        (await http.post("/events", json=body)).raise_for_status()


async def open_console(tab: Tab, url: str, place: str = "events") -> None:
    await tab.page.goto(f"{url}/console/{place}")
    await tab.until("() => callboard.client.state.phase === 'live'")


def numbers(run: str) -> str:
    """Reads from the list of events the `n` of each event of one run; what the agent says of it has none."""
    return f"""() => (callboard.events?.log.entries ?? [])
      .filter(({{ event }}) => event?.subject.startsWith('job.{run}.') && event.event_type !== 'state')
      .map(({{ event }}) => event.data.n)"""


# The `n` of the rows that are drawn, top to bottom.
DRAWN = """() => [...document.querySelectorAll('#stream .events > li:not([hidden])')]
  .map((row) => [new DOMMatrix(getComputedStyle(row).transform).f, row.entry.event?.data.n])
  .sort((a, b) => a[0] - b[0]).map(([, n]) => n).filter((n) => n !== undefined)"""


@pytest.fixture
def run() -> str:
    return f"t{secrets.token_hex(4)}"


async def test_the_page_is_live_without_a_complaint(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url)
    await tab.page.wait_for_selector("#stream .events > li")

    assert await tab.page.inner_text(".pill .phase") == "Live"
    assert "WebSocket" in await tab.page.inner_text(".pill .detail")
    assert tab.complaints == []


async def test_nothing_is_asked_of_another_host(tab: Tab, running_callboard: RunningCallboard) -> None:
    asked: set[str] = set()
    tab.page.on("request", lambda request: asked.add(request.url))

    await open_console(tab, running_callboard.url)

    assert all(url.startswith((running_callboard.url, "blob:", "data:")) for url in asked), asked


async def test_the_camera_shows_a_moving_picture_and_says_that_it_is_simulated(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url, "cameras")

    spread = await tab.until(SPREAD, "#camera canvas")
    await tab.until("() => parseFloat(document.querySelector('#camera .figures').textContent) > 5")

    assert spread > 100
    assert await tab.page.is_visible("#camera >> text=SIMULATED")


async def test_the_render_shows_its_picture_and_how_far_it_is(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "renders")

    assert await tab.until(SPREAD, "#render canvas") > 100
    await tab.until("() => /\\d+ \\/ \\d+ samples/.test(document.querySelector('#render .line').textContent)")
    assert await tab.until("() => Number(document.querySelector('#render .meter').ariaValueNow) > 0")


async def test_events_stand_in_the_order_in_which_they_were_said(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url)

    for first in range(0, 60, 20):
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(first, first + 20)))

    await tab.until(f"() => ({numbers(run)})().length === 60")
    assert await tab.page.evaluate(numbers(run)) == list(range(60))
    await tab.page.fill("#stream input[name=q]", f"{run}.output")
    await tab.until(f"() => ({numbers(run)})().length === 60 && ({DRAWN})().at(-1) === 59")
    drawn = await tab.page.evaluate(DRAWN)
    assert drawn == list(range(drawn[0], 60))


async def test_a_type_and_a_text_narrow_the_stream(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    # Only the most frequent types have a chip, and other tests publish many.
    await open_console(tab, running_callboard.url, f"events?subject=job.{run}.%3E")
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1, "line": "a needle in it"}, {"n": 2})
    await publish(running_callboard.url, f"job.{run}.oddity", {"n": 3})

    await tab.page.click('.chip[data-type="oddity"]')
    await tab.until(f"() => ({numbers(run)})().join() === '3'")
    types = await tab.page.locator("#stream .events > li:not([hidden]) .type").all_inner_texts()
    await tab.page.click('.chip[data-type=""]')
    await tab.page.fill("#stream input[type=search]", f"{run}.output")
    await tab.until(f"() => ({numbers(run)})().join() === '1,2'")
    await tab.page.fill("#stream input[type=search]", "a needle in it")

    await tab.until(f"() => ({numbers(run)})().join() === '1'")
    assert set(types) == {"oddity"}


async def test_a_pause_holds_the_stream_and_resume_shows_what_came(
    tab: Tab, running_callboard: RunningCallboard, run: str
) -> None:
    await open_console(tab, running_callboard.url, f"events?subject=job.{run}.output")
    await tab.until("() => callboard.events?.log.live")
    await tab.page.click("#stream button[aria-pressed] >> text=Pause")

    await publish(running_callboard.url, f"job.{run}.output", {"n": 1}, {"n": 2})
    await tab.page.wait_for_selector("#stream .badge >> text=paused, 2 waiting")
    assert await tab.page.evaluate(numbers(run)) == []
    await tab.page.click("#stream button[aria-pressed] >> text=Resume")

    await tab.until(f"() => ({numbers(run)})().join() === '1,2'")


async def test_an_event_opens_by_keyboard(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    await open_console(tab, running_callboard.url)
    await publish(running_callboard.url, f"job.{run}.output", {"n": 1, "line": "hello"})
    await tab.page.fill("#stream input[type=search]", run)
    await tab.until("(run) => callboard.events.log.filter.q === run", run)
    await tab.until(f"() => ({numbers(run)})().length === 1")
    await tab.until(f"() => document.querySelector('#stream button.event').textContent.includes('{run}.output')")

    await tab.page.focus("#stream button.event")
    await tab.page.keyboard.press("Enter")

    assert '"line": "hello"' in await tab.page.inner_text("#stream .detail pre")
    assert await tab.page.get_attribute("#stream button.event", "aria-pressed") == "true"


async def test_a_run_is_seen_to_progress_and_to_end(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    state = {"run": run, "domain": "job", "name": f"name of {run}", "status": "running", "stage": "one", "message": ""}
    await open_console(tab, running_callboard.url, "runs")
    row = f'#runs li[data-run="{run}"]'

    await publish(running_callboard.url, f"job.{run}.output", {"line": "first words", "stream": "stdout"})
    await publish(running_callboard.url, f"job.{run}.state", {**state, "progress": 0.25})
    await tab.until("(row) => document.querySelector(`${row} .meter`)?.ariaValueNow === '25'", row)
    await tab.page.click(f"{row} button.run")
    await tab.until("(row) => document.querySelector(`${row} .output`).textContent.includes('first words')", row)
    await publish(running_callboard.url, f"job.{run}.state", {**state, "status": "completed", "progress": 1})

    await tab.until("(row) => document.querySelector(row).classList.contains('over')", row)
    assert "Completed" in await tab.page.inner_text(row)


async def test_the_picture_of_a_run_is_one_of_this_edge_whatever_its_link_says(
    tab: Tab, running_callboard: RunningCallboard
) -> None:
    await open_console(tab, running_callboard.url)
    links = [
        "/runs/octane-main-1/picture?signature=x",
        "https://callboard.example/runs/octane-main-1/picture?signature=x",
        "javascript:alert(1)",
        "https://elsewhere.example/pixel.gif",
        None,
    ]

    shown = await tab.page.evaluate(
        "async (links) => links.map((await import('/console/views/runs.js')).pictureOf)",
        links,
    )

    assert shown == ["/runs/octane-main-1/picture?signature=x"] * 2 + [None] * 3


async def test_a_cut_wire_is_resumed_without_a_gap(
    tab: Tab, running_callboard: RunningCallboard, wire: Callable[[str], Wire], run: str
) -> None:
    async with wire(running_callboard.url) as relay:
        await open_console(tab, relay.url)
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(10)))
        await tab.until(f"() => ({numbers(run)})().length === 10")

        relay.cut()
        await tab.until("() => callboard.client.state.phase === 'waiting'")
        await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(10, 30)))
        relay.mend()
        await tab.until(f"() => ({numbers(run)})().length >= 30")
        await publish(running_callboard.url, f"job.{run}.output", {"n": 30})
        await tab.until(f"() => ({numbers(run)})().length >= 31")

        assert await tab.page.evaluate(numbers(run)) == list(range(31))
        assert await tab.page.evaluate("callboard.client.stats.gaps") == 0
        assert await tab.page.evaluate(
            "callboard.events.log.entries.some(({ note }) => note?.startsWith('Connected again'))"
        )


async def test_two_tabs_see_the_same(tab: Tab, running_callboard: RunningCallboard, run: str) -> None:
    second = Tab(await tab.page.context.new_page())
    await asyncio.gather(open_console(tab, running_callboard.url), open_console(second, running_callboard.url))

    await publish(running_callboard.url, f"job.{run}.output", *({"n": n} for n in range(5)))

    # A page behind another draws nothing until somebody looks at it.
    await second.until(f"() => ({numbers(run)})().length === 5")
    await tab.page.bring_to_front()
    await tab.until(f"() => ({numbers(run)})().length === 5")


async def test_on_a_phone_nothing_reaches_beyond_the_screen(tab: Tab, running_callboard: RunningCallboard) -> None:
    await tab.page.set_viewport_size({"width": 390, "height": 844})

    await open_console(tab, running_callboard.url)
    await tab.page.wait_for_selector("#stream .events > li")

    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 390
