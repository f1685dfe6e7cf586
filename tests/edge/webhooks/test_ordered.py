"""A webhook session that asks for order gets one post at a time."""

from __future__ import annotations

import asyncio
import random

from aiohttp import web

from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def test_posts_of_an_ordered_session_come_in_the_order_of_the_stream(edge: RunningEdge, entity: str) -> None:
    got: list[int] = []
    beside = 0

    async def receive(request: web.Request) -> web.Response:
        nonlocal beside
        beside += 1
        assert beside == 1, "two posts at once"
        event = await request.json()
        await asyncio.sleep(random.uniform(0, 0.004))
        got.append(event["data"]["n"])
        beside -= 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        session = await edge.session(
            delivery_method="webhook",
            webhook_url=f"http://127.0.0.1:{port}/",
            subjects=[f"job.{entity}.>"],
            ordered=True,
        )
        await edge.numbers(entity, 300)

        await eventually(lambda: len(got) >= 300)
        assert got == list(range(300))
        assert (await edge.http.get(f"/callbacks/sessions/{session}")).json()["ordered"] is True
    finally:
        await runner.cleanup()


async def test_ordered_must_be_true_or_false(edge: RunningEdge) -> None:
    body = {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/", "ordered": "yes"}

    answer = await edge.http.post("/callbacks/sessions", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_webhook")
