"""Tests of the place Runs: found by what and when, a page for each with its steps, output and the reason why it failed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web

from router.codec import rfc3339
from tests.axe import serious
from tests.browser.conftest import Tab, Wire
from tests.browser.standin import Standin
from tests.browser.test_adapters_page import Programs, programs
from tests.browser.test_console_page import RunningCallboard, open_console, publish
from tests.edge.auth.conftest import SecuredFactory, secured, token
from tests.waiting import PATIENCE, in_time

__all__ = ["programs", "secured"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ROWS = "#runs .run-rows > li"
# What a compiler and a progress bar print, and what a hostile program might.
COLOURED = (
    "\x1b[1;31mFAILED\x1b[0m tests/test_disk.py \x1b[32mok\x1b[39m \x1b]0;a title\x07\x1b[38;5;208morange"
    "\x1b[0m \x1b[48;2;200;0;0mred\x1b[0m\x1b[2K plain <img src=x onerror='window.hurt = true'>"
)


def last_night() -> datetime:
    """Three in the morning of today, as the browser's zone has it, which is this process's."""
    return datetime.now().astimezone().replace(hour=3, minute=0, second=0, microsecond=0)


async def say(url: str, *events: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Publishes `(subject, type, data)` in this order, and gives what the server says of each."""
    body = [{"subject": subject, "type": kind, "data": data} for subject, kind, data in events]
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        answer = (await http.post("/events", json=body)).raise_for_status().json()
    found: list[dict[str, Any]] = answer["events"] if isinstance(answer, dict) else answer
    return found


async def test_which_run_failed_last_night_and_why_is_found_in_the_browser_alone(
    tab: Tab, standin: Standin, entity: str
) -> None:
    """The states are those of three in the morning, which a running agent actor would date today."""
    night = last_night()

    def run(name: str, status: str, at: datetime, **more: Any) -> dict[str, Any]:
        times = {
            "started": rfc3339(int((at - timedelta(hours=1)).timestamp() * 1e9)),
            "updated": rfc3339(int(at.timestamp() * 1e9)),
        }
        return {
            "run": f"{name}-{entity}",
            "domain": "job",
            "name": f"{name} {entity}",
            "status": status,
            **times,
            **more,
        }

    failed = run("backup", "failed", night, error="No space left on device", exit_code=28, duration=3600.0)
    others = [
        run("build", "completed", night),
        run("deploy", "failed", night + timedelta(hours=6), error="refused"),
        run("index", "running", datetime.now(UTC), progress=0.5),
    ]
    standin.lists["runs"] = [failed, *others]
    stages = [
        {"id": "dump", "name": "dump", "kind": "step", "status": "completed", "duration": 12.0},
        {
            "id": "copy",
            "name": "copy",
            "kind": "step",
            "status": "failed",
            "error": "cp: write error",
            "duration": 3588.0,
        },
    ]

    async def page(_request: web.Request) -> web.Response:
        return web.json_response({**failed, "stages": stages, "stages_left_out": 0})

    standin.extra[f"/runs/{failed['run']}"] = page
    await standin.publish(
        f"job.{failed['run']}.stderr", {"line": "cp: error writing '/backup/db': No space left on device"}
    )
    await tab.page.goto(f"{standin.url}/console/overview")
    await tab.until("() => callboard.client.state.phase === 'live'")

    await tab.page.click("nav >> text=Runs")
    await tab.page.click("#runs >> text=Failed last night")
    await tab.until("(rows) => document.querySelectorAll(rows).length === 1", ROWS)
    address = await tab.page.evaluate("location.search")
    await tab.page.click(f"{ROWS} a.go")
    await tab.page.wait_for_selector("#runs .why-card .detail-text")

    why = await tab.page.inner_text("#runs .why-card")
    assert "status=failed" in address and "span=night" in address
    assert "It failed with exit code 28" in why and "No space left on device" in why
    assert "The step “copy” failed: Cp: write error." in why and "cp: error writing" in why
    assert (await tab.page.evaluate("location.pathname")) == f"/console/runs/job/{failed['run']}"
    await tab.page.go_back()
    await tab.until("(rows) => document.querySelectorAll(rows).length === 1", ROWS)


async def test_a_failing_command_has_a_page_that_says_why(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str
) -> None:
    script = (
        "import sys; print('\\x1b[32mstarted\\x1b[0m'); print('tried\\nno such disk', file=sys.stderr); sys.exit(3)"
    )
    argv = programs._tree.command("run", "--colours", "--job", entity, "--", sys.executable, "-c", script)
    process = await programs.start(*argv)
    assert await in_time(process.wait()) == 3

    await open_console(tab, running_callboard.url, f"runs/job/{entity}")
    await tab.page.wait_for_selector("#runs .why-card >> text=It failed with exit code 3")
    await tab.page.wait_for_selector("#runs .log .ansi-fg-2 >> text=started")
    await tab.page.wait_for_selector("#runs .why-card .reason >> text=no such disk")
    await tab.page.wait_for_selector("#runs .why-card pre >> text=tried")

    assert "Failed" in await tab.page.inner_text("#runs .place-heading")
    assert tab.complaints == []


async def test_output_of_a_job_is_shown_in_the_colours_of_a_terminal(
    tab: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    await say(running_callboard.url, (f"job.{entity}.output", "output", {"line": COLOURED, "stream": "stdout"}))
    await open_console(tab, running_callboard.url, f"runs/job/{entity}")

    await tab.page.wait_for_selector("#runs .log .ansi-fg-1.ansi-bold >> text=FAILED")
    assert "<img src=x" in await tab.page.inner_text("#runs .log")
    assert await tab.page.evaluate("document.querySelectorAll('main img').length") == 0
    assert await tab.page.evaluate("window.hurt") is None
    assert tab.complaints == []


async def test_an_agent_s_page_shows_tokens_as_they_come_its_tools_and_its_cost(
    tab: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    key = f"agent.{entity}"
    await say(running_callboard.url, (f"{key}.workflow_start", "workflow_start", {"name": "Researcher"}))
    await open_console(tab, running_callboard.url, f"runs/agent/{entity}")
    await tab.page.wait_for_selector("#runs h2 >> text=Researcher")

    await say(running_callboard.url, (f"{key}.thinking", "thinking", {"thought": "Which papers?"}))
    use = {"tool_name": "search", "parameters": {"query": "<b>squid</b>"}, "span": "use-1"}
    await say(running_callboard.url, (f"{key}.tool_use", "tool_use", use))
    await tab.page.wait_for_selector('#runs .run-stage[data-kind="tool"]')
    result = {
        "tool_name": "search",
        "span": "use-1",
        "result": {"hits": 3},
        "success": True,
        "cost": 0.25,
        "tokens_used": 40,
    }
    await say(running_callboard.url, (f"{key}.tool_result", "tool_result", result))
    await tab.page.click("#runs .run-stage .unfold")
    await tab.page.wait_for_selector("#runs .io .key >> text=hits")
    for piece in ("Squid ", "have ", "three hearts."):
        await say(running_callboard.url, (f"{key}.streaming_chunk", "streaming_chunk", {"content": piece}))
    await tab.until("() => document.querySelector('#runs .answer').textContent === 'Squid have three hearts.'")
    running = await tab.page.inner_text("#runs")
    await say(running_callboard.url, (f"{key}.completion", "completion", {"success": True}))
    await tab.page.wait_for_selector("#runs .place-heading >> text=Completed")

    assert '"<b>squid</b>"' in running
    figures = await tab.page.inner_text("#runs .run-figures")
    assert "$0.25" in figures and "40" in figures
    assert await tab.page.is_hidden("#runs .why-card") and await tab.page.is_hidden("#runs .tools .stop")
    assert await tab.page.inner_text("#runs .causes li:first-child a") == "completion"
    assert tab.complaints == []


async def test_a_run_is_stopped_from_its_page_after_a_question(
    tab: Tab, running_callboard: RunningCallboard, programs: Programs, entity: str
) -> None:
    process = await programs.start(*programs._tree.command("run", "--job", entity, "--", "sleep", "600"))
    await open_console(tab, running_callboard.url, "runs")
    await tab.page.wait_for_selector(f'#runs li[data-run="{entity}"]')
    await tab.page.click(f'#runs li[data-run="{entity}"] a.go')

    await tab.page.click("#runs .tools .stop")
    await tab.page.click("dialog >> button.danger")

    assert await in_time(process.wait()) == 143
    await tab.page.wait_for_selector("#runs .why-card.stopped >> text=It was stopped")


async def test_output_is_text_in_colours_and_never_markup(tab: Tab, running_callboard: RunningCallboard) -> None:
    await open_console(tab, running_callboard.url, "runs")

    shown = await tab.page.evaluate(
        """async (line) => {
          const { ansi, plainText } = await import("/console/places/runs/ansi.js");
          const pre = document.createElement("pre");
          pre.append(...ansi(line));
          const spans = [...pre.querySelectorAll("span")].map((span) => [span.className, span.textContent]);
          const cut = [..."\\x1b[31mab\\x1b[", "\\x1b"].join("");
          return { text: pre.textContent, spans, kept: plainText(line), elements: pre.querySelectorAll(":not(span)").length,
            overwritten: plainText("10 %\\r20 %\\r30 %\\r"), cut: plainText(cut),
            odd: plainText("\\x1b[38;5;999mx\\x1b[38;2;1mx\\x1b[;;;mx\\x07") };
        }""",
        COLOURED,
    )

    evil = " plain <img src=x onerror='window.hurt = true'>"
    assert shown["text"] == shown["kept"] == f"FAILED tests/test_disk.py ok orange red{evil}"
    assert shown["spans"] == [
        ["ansi-bold ansi-fg-1", "FAILED"],
        ["ansi-fg-2", "ok"],
        ["ansi-fg-3", "orange"],
        ["ansi-bg ansi-bg-1", "red"],
    ]
    assert (shown["elements"], shown["overwritten"], shown["cut"], shown["odd"]) == (0, "30 %", "ab", "xxx")
    assert await tab.page.evaluate("window.hurt") is None


async def test_runs_are_narrowed_by_state_kind_and_text_and_the_address_keeps_it(
    tab: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    for domain, status in (("job", "failed"), ("job", "completed"), ("agent", "failed")):
        state = {
            "name": f"{domain} {status} {entity}",
            "status": status,
            "updated": rfc3339(int(datetime.now(UTC).timestamp() * 1e9)),
        }
        await publish(running_callboard.url, f"{domain}.{entity}-{status}.state", state)
    await open_console(tab, running_callboard.url, "runs")

    await tab.page.fill("#runs input[name=text]", entity)
    await tab.until("(rows) => document.querySelectorAll(rows).length === 3", ROWS)
    await tab.page.select_option("#runs select[name=status]", "failed")
    await tab.until("(rows) => document.querySelectorAll(rows).length === 2", ROWS)
    await tab.page.select_option("#runs select[name=domain]", "agent")
    await tab.until("(rows) => document.querySelectorAll(rows).length === 1", ROWS)
    await tab.page.reload()
    await tab.until("(rows) => document.querySelectorAll(rows).length === 1", ROWS)
    await tab.page.fill("#runs input[name=text]", "nothing is called this")
    await tab.page.wait_for_selector("#runs >> text=No run matches")
    await tab.page.click("#runs >> text=Show all")
    await tab.until("(rows) => document.querySelectorAll(rows).length >= 3", ROWS)

    assert tab.complaints == []


async def test_runs_of_one_name_are_told_apart_and_a_failed_step_and_short_times_are_shown_as_such(
    tab: Tab, running_callboard: RunningCallboard, entity: str
) -> None:
    key = f"job.{entity}"
    await say(
        running_callboard.url,
        (f"{key}.workflow_start", "workflow_start", {"name": "Nightly"}),
        (f"{key}.workflow_step", "workflow_step", {"step": "copy", "status": "started", "span": "a"}),
        (f"{key}.workflow_step", "workflow_step", {"step": "copy", "status": "failed", "span": "a", "duration": 0.25}),
        (f"{key}.completion", "completion", {"success": False, "error": "no space left"}),
    )
    await open_console(tab, running_callboard.url, f"runs?text={entity}")
    await tab.page.wait_for_selector(f"{ROWS} .id:visible >> text={entity}")
    await tab.page.click(f"{ROWS} a.go")
    step = tab.page.locator("#runs .run-stage[data-status=failed]")
    await step.wait_for()

    assert "250 ms" in await step.inner_text()
    assert "M6 6l12 12M18 6L6 18" in await step.locator("> .line > svg").inner_html()
    # It never told how far it was, and is over.
    assert await tab.page.is_hidden("#runs .far .meter")
    took = await tab.page.inner_text("#runs .far [data-name=Took] dd")
    assert took.endswith(" ms") or (took.endswith(" s") and took != "0 s"), took


async def test_a_run_that_is_not_there_and_one_that_may_not_be_read_are_told_apart(
    tab: Tab, secured: SecuredFactory
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/console/runs/job/nope#token={token('all', ttl=600, read=['>'])}")
        await tab.page.wait_for_selector("#runs .state[data-kind=missing]")
        await tab.page.goto("about:blank")
        await tab.page.goto(f"{edge.url}/console/runs/job/nope#token={token('one', ttl=600, read=['camera.>'])}")
        await tab.page.wait_for_selector("#runs .state[data-kind=denied]")
        denied = await tab.page.inner_text("#runs")
        await tab.page.goto(f"{edge.url}/console/runs")
        await tab.page.wait_for_selector("#runs .withheld[data-kind=denied]")

    assert "the right to read job.nope.>" in denied


async def test_loading_a_fault_and_nothing_are_three_different_things_on_a_run_s_page(
    tab: Tab, standin: Standin
) -> None:
    let_go = asyncio.Event()
    answer: dict[str, Any] = {}

    async def page(_request: web.Request) -> web.Response:
        await let_go.wait()
        if not answer:
            return web.json_response({"code": "internal", "detail": "the store is being repaired"}, status=500)
        return web.json_response(answer)

    standin.extra["/runs/r1"] = page
    await tab.page.goto(f"{standin.url}/console/runs/job/r1")
    await tab.page.wait_for_selector("#runs .state[data-kind=loading]")
    # When it has come live it reads again only what it has not asked for already.
    await tab.until("() => callboard.client.state.phase === 'live'")
    let_go.set()
    await tab.page.wait_for_selector("#runs .state[data-kind=failed]")
    now = datetime.now(UTC).isoformat()
    answer.update(run="r1", domain="job", status="completed", started=now, updated=now, stages=[], stages_left_out=0)
    await tab.page.click("#runs >> text=Try again")

    await tab.page.wait_for_selector("#runs .silent >> text=This run has said nothing.")
    assert await tab.page.is_hidden("#runs .state")


async def test_a_page_of_a_run_goes_on_where_it_was_when_the_network_was_gone(
    tab: Tab, running_callboard: RunningCallboard, wire: Callable[[str], Wire], entity: str
) -> None:
    await say(running_callboard.url, (f"job.{entity}.output", "output", {"line": "one"}))
    async with wire(running_callboard.url) as relay:
        await open_console(tab, relay.url, f"runs/job/{entity}")
        await tab.page.wait_for_selector("#runs .log >> text=one")
        relay.hold()
        await tab.page.wait_for_selector("#banner:visible")
        await say(running_callboard.url, (f"job.{entity}.output", "output", {"line": "two"}))
        relay.release()
        await tab.page.wait_for_selector("#runs .log >> text=two")

    lines = await tab.page.locator("#runs .log .row").all_inner_texts()
    assert [line.strip() for line in lines] == ["one", "two"]


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_no_serious_barrier_is_found_in_the_list_and_on_a_run_s_page(
    tab: Tab, running_callboard: RunningCallboard, entity: str, scheme: str
) -> None:
    await tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    colours = "".join(
        f"\x1b[{code}mcolour {code}\x1b[0m " for code in (*range(30, 38), *range(40, 48), *range(90, 98), 1, 2, 7)
    )
    key = f"agent.{entity}"
    await say(
        running_callboard.url,
        (f"{key}.workflow_start", "workflow_start", {"name": "Researcher"}),
        (f"{key}.tool_use", "tool_use", {"tool_name": "search", "parameters": {"q": 1}, "span": "a"}),
        (f"{key}.streaming_chunk", "streaming_chunk", {"content": "Squid."}),
        (f"{key}.output", "output", {"line": colours}),
        (f"{key}.completion", "completion", {"success": False, "error": "it broke", "exit_code": 2}),
    )
    await open_console(tab, running_callboard.url, "runs")
    row = f'#runs li[data-run="{entity}"]'
    await tab.page.click(f"{row} button.run")
    await tab.page.wait_for_selector(f"{row} .output")

    assert await serious(tab.page) == []
    await tab.page.click(f"{row} a.go")
    await tab.page.wait_for_selector("#runs .why-card")
    await tab.page.click("#runs .run-stage .unfold")
    assert await serious(tab.page) == []
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    assert await serious(tab.page) == []
