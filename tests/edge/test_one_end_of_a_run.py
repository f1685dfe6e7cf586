"""A run has one end in the stream, whoever ends it and on whichever way in."""

from __future__ import annotations

import asyncio
import contextlib

from router.broker import Broker
from router.catalogue import ending
from router.codec import encode
from router.errors import RunConflict
from router.event import Event
from router.nats.settings import BrokerSettings
from router.runs import RunLedger
from router.sdk import Run
from tests.edge.conftest import RunningEdge


class Dead(Exception):
    """The process ends here."""


class DyingBroker(Broker):
    """A broker whose process ends before it publishes."""

    async def put(self, *_: object, **__: object) -> object:  # type: ignore[override]
        raise Dead


async def test_of_two_producers_four_http_clients_a_retry_a_crash_and_a_late_success_readers_see_one_end(
    edge: RunningEdge, store: Broker, broker_settings: BrokerSettings, entity: str
) -> None:
    session = await edge.session(subjects=[f"agent.{entity}.>"])

    async def by_http(success: bool, key: str) -> int:
        body = {"subject": f"agent.{entity}.completion", "data": {"success": success}}
        return (await edge.http.post("/events", json=body, headers={"Idempotency-Key": f"{entity}-{key}"})).status_code

    async def by_ledger(broker: Broker, incarnation: str) -> str:
        event = Event.new(f"agent.{entity}.done", {"success": False, "incarnation": incarnation})
        try:
            await RunLedger(broker).end(event, encode(event))
        except (RunConflict, Dead) as fault:
            return type(fault).__name__
        return "ended"

    async with DyingBroker(broker_settings, "dying") as dying, Broker(broker_settings, "another") as another:
        with contextlib.suppress(RunConflict):
            async with Run(entity, store) as run:
                await run.progress(0.5)
                answers = asyncio.gather(
                    *(by_http(n % 2 == 0, str(n)) for n in range(4)),
                    by_http(True, "retried"),
                    by_http(True, "retried"),
                )
                ledgers = asyncio.gather(by_ledger(another, run.incarnation), by_ledger(dying, run.incarnation))
        statuses, outcomes = await answers, await ledgers
    await RunLedger(store).settle("agent", entity)  # as the agent actor does for the one that died
    late = await by_http(True, "late")

    assert set(statuses) <= {201, 409} and late == 409
    assert set(outcomes) <= {"ended", "RunEnded", "Dead"}
    seen = (await edge.poll(session, "?cursor=earliest&limit=1000"))["events"]
    ends = [event for event in seen if ending("agent", event["event_type"], event["data"])]
    assert len(ends) == 1, (statuses, outcomes)
    assert await by_http(True, "late") == 409


async def test_an_old_pod_s_end_is_refused_and_the_new_pod_s_is_the_run_s(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    async def said(type: str, data: dict[str, object]) -> int:
        return (await edge.http.post("/events", json={"subject": f"job.{entity}.{type}", "data": data})).status_code

    assert await said("workflow_start", {"incarnation": "old"}) == 201
    assert await said("workflow_start", {"incarnation": "new"}) == 201
    refused = await edge.http.post(
        "/events",
        json={"subject": f"job.{entity}.completion", "data": {"success": False, "incarnation": "old"}},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "run_superseded")
    assert await said("completion", {"success": True, "incarnation": "new"}) == 201

    page = await store.read(f"job.{entity}.completion", 0)
    assert [record.event.data["incarnation"] for record in page.records if record.event] == ["new"]
