"""A delivery is shown with all its attempts and the request that it makes, without its secrets."""

from __future__ import annotations

import json

from aiohttp import web

from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import Receiver
from tests.waiting import eventually


async def test_a_delivery_shows_its_attempts_and_the_request_without_secrets(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    async def failing(request: web.Request) -> web.Response:
        return web.Response(status=500 if len(receiver.posts) < 2 else 204, text="try later")

    receiver.answer = failing
    session = await edge.session(
        delivery_method="webhook", webhook_url=f"{receiver.url}?key=geheim", subjects=[f"job.{entity}.>"],
        headers={"Authorization": "Bearer geheim"}, retry_schedule=[0.1],
    )  # fmt: skip
    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 2)
    base = f"/callbacks/sessions/{session}"

    async def attempts(query: str = "") -> list[dict[str, object]]:
        return (await edge.http.get(f"{base}/attempts{query}")).json()["attempts"]

    assert await eventually(lambda: attempts("?result=ok"))
    (done,) = await attempts("?status=204")
    answer = await edge.http.get(f"{base}/deliveries/{done['webhook_id']}")
    shown = answer.json()

    assert [each["status"] for each in shown["attempts"]] == [500, 204]
    request = shown["request"]
    assert request["headers"]["Authorization"] == "***" and request["headers"]["webhook-signature"] == "***"
    assert request["headers"]["webhook-id"] == done["webhook_id"] == receiver.posts[1].headers["webhook-id"]
    assert json.loads(request["body"]) == json.loads(receiver.posts[1].body)
    assert "geheim" not in answer.text and not request["truncated"]


async def test_attempts_are_found_by_subject_and_by_status(edge: RunningEdge, receiver: Receiver, entity: str) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url=receiver.url, subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)
    await edge.numbers(entity, 1, kind="log")
    base = f"/callbacks/sessions/{session}"

    async def subjects(query: str) -> list[str]:
        found = (await edge.http.get(f"{base}/attempts?{query}")).json()["attempts"]
        return [each["subject"] for each in found]

    await eventually(lambda: len(receiver.posts) == 2)

    async def both() -> bool:
        return len(await subjects("subject=job.*.*")) == 2

    assert await eventually(both)
    assert await subjects("subject=job.*.log") == [f"job.{entity}.log"]
    assert await subjects("status=500") == []
    refused = await edge.http.get(f"{base}/attempts?subject=a..b")
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_pattern")


async def test_a_delivery_that_is_not_known_is_not_found(edge: RunningEdge) -> None:
    session = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/")

    unknown = await edge.http.get(f"/callbacks/sessions/{session}/deliveries/{'0' * 32}")
    malformed = await edge.http.get(f"/callbacks/sessions/{session}/deliveries/nonsense")

    assert (unknown.status_code, unknown.json()["code"]) == (404, "attempt_not_found")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "bad_parameter")
