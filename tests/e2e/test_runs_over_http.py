"""A run whose producer speaks HTTP alone: missed when it dies, revived when it was only frozen, stopped by its heartbeat."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.e2e.tree import RunningCallboard
from tests.waiting import PATIENCE, eventually


@pytest.fixture
async def http(running_callboard: RunningCallboard) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the edge."""
    async with httpx.AsyncClient(base_url=running_callboard.url, trust_env=False, timeout=PATIENCE) as client:
        yield client


async def say(http: httpx.AsyncClient, subject: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await http.post("/events", json={"subject": subject, "data": data or {}})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def beat(http: httpx.AsyncClient, run: str, **body: Any) -> dict[str, Any]:
    answer = await http.post(f"/runs/{run}/lease", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ends(http: httpx.AsyncClient, run: str) -> list[dict[str, Any]]:
    """The terminal events of a run, from its beginning."""
    session = await http.post(
        "/callbacks/sessions",
        json={"delivery_method": "polling", "subjects": [f"job.{run}.completion"], "cursor": "earliest"},
    )
    page = await http.get(f"{session.json()['urls']['events']}?limit=1000")
    found: list[dict[str, Any]] = page.json()["events"]
    return found


async def status(http: httpx.AsyncClient, run: str) -> Any:
    answer = await http.get(f"/runs/{run}")
    return answer.json().get("status"), answer.json().get("progress")


async def test_a_producer_that_sends_no_heartbeat_is_missed_and_one_that_comes_back_goes_on(
    http: httpx.AsyncClient, entity: str
) -> None:
    await say(http, f"job.{entity}.workflow_start", {"name": "frozen"})
    await say(http, f"job.{entity}.progress", {"progress": 0.4})
    await beat(http, entity, ttl=2)

    await eventually(lambda: ends(http, entity))
    back = await beat(http, entity, ttl=60)
    await eventually(lambda: _is(http, entity, ("running", 0.4)))
    await say(http, f"job.{entity}.progress", {"progress": 0.1})
    await say(http, f"job.{entity}.completion", {"success": True, "incarnation": back["incarnation"]})
    await eventually(lambda: _is(http, entity, ("completed", 1.0)))

    first, second = await ends(http, entity)
    assert back["revived"] is True
    assert (first["data"]["success"], first["data"]["synthesized"]) == (False, True)
    assert second["data"]["success"] is True


async def _is(http: httpx.AsyncClient, run: str, wanted: Any) -> bool:
    return await status(http, run) == wanted


async def test_a_request_to_stop_goes_by_the_agent_actor_to_the_next_heartbeat(
    http: httpx.AsyncClient, entity: str
) -> None:
    await say(http, f"job.{entity}.workflow_start")
    await beat(http, entity, ttl=60)
    await eventually(lambda: _is(http, entity, ("running", None)))

    asked = await http.post(f"/runs/{entity}/stop", json={"reason": "too dear"})
    told = await beat(http, entity, ttl=60)
    await eventually(lambda: _is(http, entity, ("stopping", None)))
    await say(http, f"job.{entity}.completion", {"success": False, "status": "cancelled"})

    assert (asked.status_code, asked.json()["via"], asked.json()["status"]) == (200, "http", "stopping")
    assert (told["stop"], told["reason"]) == (True, "too dear")
    await eventually(lambda: _is(http, entity, ("cancelled", None)))


@pytest.mark.slow
async def test_with_the_usual_ttl_a_producer_that_dies_is_missed_within_twenty_seconds(
    http: httpx.AsyncClient, entity: str
) -> None:
    await say(http, f"job.{entity}.workflow_start")
    await beat(http, entity)
    last = time.time()

    await eventually(lambda: ends(http, entity))

    (end,) = await ends(http, entity)
    assert 10 < datetime.fromisoformat(end["timestamp"]).timestamp() - last < 20
