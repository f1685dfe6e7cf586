"""Tests of the JavaScript client against a server that misbehaves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.browser.conftest import Tab
from tests.browser.standin import Standin
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

START = """async (options) => {
  const { connect } = await import("/client/index.js");
  window.seen = [];
  window.notices = [];
  window.states = [];
  window.client = connect(location.origin, { backoff: { base: 20, cap: 200 }, ...options });
  client.on("*", (event) => seen.push(event.data.n));
  client.onNotice((notice) => notices.push(notice.control));
  client.onState(({ phase, transport }) => states.push(transport ? `${phase} ${transport}` : phase));
}"""


async def start(tab: Tab, standin: Standin, **options: Any) -> None:
    """Opens a page of the stand-in that holds nothing but a client, and waits until it is live."""
    await tab.page.goto(f"{standin.url}/blank")
    await tab.page.evaluate(START, options)
    await tab.until("() => client.state.phase === 'live'")


async def say(standin: Standin, first: int, last: int) -> None:
    for n in range(first, last):
        await standin.publish(f"job.j.n{n}", {"n": n}, "log")


async def seen(tab: Tab, count: int) -> list[int]:
    """What listeners were given, once it is so many."""
    await tab.until("(count) => seen.length >= count", count)
    found: list[int] = await tab.page.evaluate("seen")
    return found


async def test_a_cut_socket_is_resumed_without_a_gap_and_without_a_repeat(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)
    await say(standin, 0, 5)
    await seen(tab, 5)

    standin.repeat = 3
    standin.cut()
    await say(standin, 5, 10)

    assert await seen(tab, 10) == list(range(10))
    assert await tab.page.evaluate("client.stats.duplicates") == 3
    assert standin.created == 1


async def test_there_are_never_two_connections_at_once(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)

    for round in range(1, 6):
        standin.cut()
        await tab.until("(round) => client.stats.connections > round && client.state.phase === 'live'", round)

    assert len(standin.opened) == 6
    assert standin.most_open == 1


async def test_where_sockets_are_refused_it_reads_server_sent_events(tab: Tab, standin: Standin) -> None:
    standin.refuse_sockets = True

    await start(tab, standin)
    await say(standin, 0, 3)

    assert await seen(tab, 3) == [0, 1, 2]
    assert await tab.page.evaluate("client.state.transport") == "sse"


async def test_where_nothing_streams_it_polls(tab: Tab, standin: Standin) -> None:
    standin.refuse_sockets = standin.refuse_sse = True

    await start(tab, standin)
    await say(standin, 0, 3)

    assert await seen(tab, 3) == [0, 1, 2]
    assert await tab.page.evaluate("client.state.transport") == "polling"


async def test_a_forgotten_session_is_made_anew_at_the_same_cursor(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)
    await say(standin, 0, 4)
    await seen(tab, 4)

    standin.sessions.clear()
    standin.cut()
    await say(standin, 4, 8)

    assert await seen(tab, 8) == list(range(8))
    assert standin.created == 2


async def test_silence_is_taken_for_a_dead_wire(tab: Tab, standin: Standin) -> None:
    await start(tab, standin, silence=1500)

    standin.mute = True
    await tab.until("() => client.state.phase !== 'live'")
    standin.mute = False
    await say(standin, 0, 2)

    assert await seen(tab, 2) == [0, 1]


async def test_a_heartbeat_is_no_silence(tab: Tab, standin: Standin) -> None:
    standin.refuse_sockets = True

    await start(tab, standin, silence=2000, transport="sse")
    await eventually(lambda: standin.heartbeats >= 5)

    assert len(standin.opened) == 1


async def test_a_bye_that_says_come_back_is_obeyed_after_its_delay(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)

    await standin.say({"control": "bye", "reason": "shutdown", "code": 4001, "reconnect": True, "delay_ms": 300})
    await tab.until("() => client.stats.connections === 2")

    assert "waiting" in await tab.page.evaluate("states")
    assert "bye" in await tab.page.evaluate("notices")


async def test_a_bye_that_says_stay_away_is_obeyed_until_somebody_asks(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)

    await standin.say({"control": "bye", "reason": "not_permitted", "code": 4503, "reconnect": False, "delay_ms": 0})
    await tab.until("() => client.state.phase === 'refused'")
    assert await tab.page.evaluate("client.state.reason") == "not_permitted"
    assert len(standin.opened) == 1
    await tab.page.evaluate("client.retry()")

    await tab.until("() => client.stats.connections === 2")


async def test_a_refusal_is_told_from_a_broken_network(tab: Tab, standin: Standin) -> None:
    standin.created_status = 401
    await tab.page.goto(f"{standin.url}/blank")

    await tab.page.evaluate(START, {})

    await tab.until("() => client.state.phase === 'refused'")
    assert standin.created == 0


async def test_a_gap_is_announced_and_read_past(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)

    await standin.say({"control": "gap", "from": standin.cursor(0), "to": standin.cursor(7)})
    await say(standin, 0, 1)

    assert await seen(tab, 1) == [0]
    assert await tab.page.evaluate("client.stats.gaps") == 1


async def test_a_listener_that_throws_harms_nobody_else(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)
    # `void`: what an expression gives, if it is a function, the driver would call; here that ends the subscription.
    await tab.page.evaluate("void client.on('log', () => { throw new Error('a listener broke'); })")

    await say(standin, 0, 3)

    assert await seen(tab, 3) == [0, 1, 2]
    assert sum("a listener broke" in complaint for complaint in tab.complaints) == 3


async def test_close_ends_the_connection_and_start_resumes_it(tab: Tab, standin: Standin) -> None:
    await start(tab, standin)
    await say(standin, 0, 2)
    await seen(tab, 2)

    await tab.page.evaluate("client.close()")
    await eventually(lambda: standin.open_now == 0)
    await say(standin, 2, 4)
    assert await tab.page.evaluate("seen") == [0, 1]
    await tab.page.evaluate("client.start()")

    assert await seen(tab, 4) == [0, 1, 2, 3]


async def test_history_reads_the_past_of_some_subjects_only(tab: Tab, standin: Standin) -> None:
    await say(standin, 0, 6)
    await standin.publish("job.other.log", {"n": 99})
    await start(tab, standin)

    events = await tab.page.evaluate("client.history(['job.j.>'], 4)")

    assert [event["data"]["n"] for event in events] == [2, 3, 4, 5]


async def test_what_an_event_says_is_never_markup(tab: Tab, standin: Standin) -> None:
    evil = "<img src=x onerror='window.hurt = true'><script>window.hurt = true</script>"
    await standin.publish("job.evil.log", {"message": evil, evil: evil})
    await standin.publish("job.evil.state", {"run": evil, "name": evil, "status": evil, "stage": evil, "message": evil})
    await standin.publish("job.evil.output", {"line": evil})
    await standin.publish("alert.evil.firing", {"rule": evil, "title": evil, "message": evil, "entity": evil})
    await standin.publish("camera.main.state", {"source": evil, "status": evil})

    await tab.page.goto(f"{standin.url}/console/cameras")
    await tab.until("() => callboard.store.cameras.has('main')")
    await tab.page.click("nav >> text=Events")
    await tab.page.click("#stream button.event")
    await tab.page.wait_for_selector("#stream .detail pre")
    assert await tab.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    await tab.page.click("nav >> text=Runs")
    await tab.page.click("#runs button.run")
    await tab.page.wait_for_selector("#runs .output")
    assert await tab.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    await tab.page.click("nav >> text=Alerts")
    await tab.page.wait_for_selector(".alert")

    assert await tab.page.evaluate("window.hurt") is None
    assert await tab.page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert evil in await tab.page.inner_text("#alerts")


async def test_an_alert_is_acknowledged_snoozed_and_resolved_on_the_page_and_a_refusal_is_shown(
    tab: Tab, standin: Standin
) -> None:
    alert = {"id": "hot.1.a", "rule": "hot", "key": "lab", "title": "The lab is hot", "severity": "critical"}
    now = datetime.now(UTC).isoformat()
    standin.lists["alerts"] = [{**alert, "state": "firing", "status": "firing", "timestamp": now}]
    await tab.page.goto(f"{standin.url}/console/alerts")
    await tab.page.wait_for_selector('.alert[data-state="firing"]')
    assert "1 firing" in await tab.page.inner_text("#alerts")

    await tab.page.click('.alert button[data-action="acknowledge"]')
    await tab.page.wait_for_selector('.alert[data-state="acknowledged"]')
    assert "1 known" in await tab.page.inner_text("#alerts")
    await tab.page.click('.alert button[data-action="snooze"]')
    await tab.page.wait_for_selector('.alert.quiet[data-state="snoozed"]')
    gone, standin.lists["alerts"] = standin.lists["alerts"], []
    await tab.page.click('.alert button[data-action="dismiss"]')
    await tab.page.wait_for_selector(".alert .refused")
    assert "no such alert" in await tab.page.inner_text(".alert .refused")
    standin.lists["alerts"] = gone
    await tab.page.click('.alert button[data-action="resolve"]')
    await tab.page.wait_for_selector('.alert[data-state="resolved"]')

    assert await tab.page.query_selector(".alert button") is None
    assert standin.acts == [
        ("hot.1.a", "acknowledge", {}),
        ("hot.1.a", "snooze", {"for": 3600}),
        ("hot.1.a", "resolve", {}),
    ]
    # The browser itself complains of every answer that is an error.
    tab.complaints[:] = [each for each in tab.complaints if "404" not in each]


async def test_what_an_alert_s_rule_offers_are_links_and_commands_that_are_given(tab: Tab, standin: Standin) -> None:
    offered = [
        {"label": "Show the run", "url": "/runs/lab"},
        {"label": "Cool", "command": "fan.a.b.faster"},
        {"label": "Hurt", "url": "javascript:window.hurt=true"},
        {"label": "Odd", "command": "faster"},
    ]
    alert = {"id": "hot.1.a", "rule": "hot", "key": "lab", "title": "The lab is hot", "severity": "critical"}
    now = datetime.now(UTC).isoformat()
    standin.lists["alerts"] = [
        {**alert, "state": "firing", "status": "firing", "timestamp": now, "actions": offered},
    ]
    await tab.page.goto(f"{standin.url}/console/alerts")
    await tab.page.wait_for_selector('.alert[data-state="firing"]')

    link = tab.page.locator(".alert a.quiet")
    assert (await link.inner_text(), await link.get_attribute("href")) == ("Show the run", "/runs/lab")
    await tab.page.click('.alert button:has-text("Cool")')
    await tab.page.wait_for_selector(".alert .answer")
    assert standin.acts == [("fan/a.b/faster", "command", {})]
    shown = await tab.page.inner_text(".alert .actions")
    assert "Done: Cool" in shown and "Hurt" not in shown and "Odd" not in shown


async def test_the_list_of_events_draws_as_many_rows_as_fit_whatever_comes(tab: Tab, standin: Standin) -> None:
    await tab.page.goto(f"{standin.url}/console/events")
    await tab.until("() => callboard.events?.log.live")

    await say(standin, 0, 1500)

    last = """(cursor) => [...document.querySelectorAll('#stream .events > li:not([hidden])')]
      .some((row) => row.entry.event?.cursor === cursor)"""
    await tab.until(last, standin.cursor(1500))
    assert await tab.page.evaluate("callboard.events.log.entries.length") == 1500
    assert await tab.page.evaluate("document.querySelectorAll('#stream .events > li').length") < 100
