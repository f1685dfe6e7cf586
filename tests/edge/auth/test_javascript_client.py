"""The JavaScript client in a browser at a secured edge: tokens that end, tickets, and one cursor over every transport."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Tab, browser, chromium, tab  # noqa: F401
from tests.edge.auth.conftest import SecuredFactory, token

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

READ = """async ([url, options]) => {
  const { connect } = await import("/client.js");
  window.seen = [];
  window.board = connect(url, options);
  board.on("*", (event) => seen.push(event.data.n));
}"""


async def read(tab: Tab, url: str, **options: Any) -> None:  # noqa: F811
    await tab.page.evaluate(READ, [url, options])


async def test_each_transport_goes_on_at_the_cursor_of_the_one_before(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/livez")
        alice = token("alice", read=[f"job.{entity}.>"])
        producer = edge.as_("producer", publish=["job.>"])
        cursor = "earliest"
        for turn, transport in enumerate(("websocket", "sse", "polling")):
            await producer.publish({"subject": f"job.{entity}.output", "data": {"n": turn}})
            await read(tab, edge.url, subjects=[f"job.{entity}.>"], token=alice, cursor=cursor, transport=transport)
            await tab.until("() => seen.length && board.state.transport")
            assert await tab.page.evaluate("[board.state.transport, ...seen]") == [transport, turn]
            cursor = await tab.page.evaluate("(board.close(), board.cursor)")


async def test_a_token_that_ends_is_renewed_and_nothing_is_missed(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/livez")
        alice = edge.as_("alice", ttl=3600, read=[f"job.{entity}.>"])
        tokens = [token("alice", ttl=5.0, read=[f"job.{entity}.>"]), alice.token]
        await tab.page.evaluate(
            """async ([url, subjects, tokens]) => {
              const { connect } = await import("/client.js");
              window.seen = [];
              window.asked = 0;
              window.board = connect(url, { subjects, token: () => tokens[Math.min(asked++, 2) < 2 ? 0 : 1] });
              board.on("*", (event) => seen.push(event.data.n));
            }""",
            [edge.url, [f"job.{entity}.>"], tokens],
        )
        await tab.until("() => board.state.phase === 'live'")
        producer = edge.as_("producer", publish=["job.>"])
        await producer.publish({"subject": f"job.{entity}.output", "data": {"n": 0}})
        await tab.until("() => asked > 2 && seen.length === 1")
        await producer.publish({"subject": f"job.{entity}.output", "data": {"n": 1}})

        await tab.until("() => seen.length === 2 && board.state.phase === 'live'")


async def test_a_session_of_somebody_else_is_read_by_a_ticket(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured() as edge:
        owner = edge.as_("owner", read=["job.>"], publish=["job.>"])
        session = await owner.session(subjects=[f"job.{entity}.>"])
        ticket = (await owner.http.post("/tickets", json={"session_id": session})).json()["ticket"]
        await tab.page.goto(f"{edge.url}/livez")

        await read(tab, f"{edge.url}/callbacks/sessions/{session}", ticket=ticket)
        await tab.until("() => board.state.phase === 'live'")
        await owner.publish({"subject": f"job.{entity}.output", "data": {"n": 7}})

        await tab.until("() => seen.length === 1")
        assert await tab.page.evaluate("[board.state.session, ...seen]") == [session, 7]


async def test_what_may_not_be_read_is_refused_and_the_rest_goes_on(
    tab: Tab,  # noqa: F811
    secured: SecuredFactory,
    entity: str,
) -> None:
    async with secured() as edge:
        await tab.page.goto(f"{edge.url}/livez")
        await read(tab, edge.url, subjects=[f"job.{entity}.>"], token=token("alice", read=[f"job.{entity}.>"]))
        await tab.until("() => board.state.phase === 'live'")

        await tab.page.evaluate("window.other = void (window.denied = board.subscribe({ subjects: ['camera.>'] }))")
        await tab.until("() => denied.state.phase === 'refused'")
        await edge.as_("producer", publish=["job.>"]).publish({"subject": f"job.{entity}.output", "data": {"n": 1}})

        await tab.until("() => seen.length === 1")
        assert await tab.page.evaluate("[denied.state.code, board.state.phase]") == ["not_granted", "live"]
