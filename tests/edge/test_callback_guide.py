"""What the callback guide names beside its samples: errors for failed deliveries, and the logger of its troubleshooting part."""

from __future__ import annotations

import logging

import pytest

from router.nats.embedded import free_port
from tests.edge.conftest import RunningEdge
from tests.waiting import eventually


async def test_a_delivery_that_failed_for_good_is_an_error_of_the_guide_to_sessions_that_chose_the_type(
    edge: RunningEdge, entity: str
) -> None:
    chose = await edge.session(delivery_method="polling", events=["error"], subjects=None)
    others = await edge.session(delivery_method="polling", events=["progress"], subjects=None)
    # Nobody listens there.
    url = f"http://127.0.0.1:{free_port()}/callbacks"
    hook = await edge.session(
        delivery_method="webhook", webhook_url=url, subjects=[f"job.{entity}.>"], retry_attempts=0
    )

    await edge.publish({"subject": f"job.{entity}.progress", "data": {"progress": 0.5}})

    async def errors() -> list[dict[str, object]]:
        events = (await edge.poll(chose, "?wait=1"))["events"]
        return [event["data"] for event in events if event["data"].get("session_id") == hook]

    (error,) = await eventually(errors)
    assert (error["error_type"], error["recoverable"], error["retry_count"]) == ("exhausted", False, 0)
    assert url in str(error["error"]) and error["event"]["subject"] == f"job.{entity}.progress"  # type: ignore[index]
    assert all(event["event_type"] == "progress" for event in (await edge.poll(others))["events"])


async def test_the_logger_that_the_guide_names_tells_of_sessions_readers_and_attempts(
    edge: RunningEdge, entity: str, caplog: pytest.LogCaptureFixture
) -> None:
    # As the guide has it.
    logging.getLogger("callback_manager").setLevel(logging.DEBUG)
    try:
        url = f"http://127.0.0.1:{free_port()}/callbacks"
        hook = await edge.session(
            delivery_method="webhook", webhook_url=url, subjects=[f"job.{entity}.>"], retry_attempts=0
        )
        read = await edge.session(subjects=[f"job.{entity}.>"])
        async with edge.socket(read) as socket:
            await edge.publish({"subject": f"job.{entity}.progress", "data": {"progress": 0.5}})
            await socket.events(1)
        await edge.http.delete(f"/callbacks/sessions/{read}")

        def told(session: str) -> list[str]:
            records = [each for each in caplog.records if each.name == "callback_manager"]
            return [each.getMessage() for each in records if getattr(each, "session", "") == session]

        await eventually(lambda: "webhook delivery failed for good; added to dead letters" in told(hook))
        await eventually(lambda: "reader gone" in told(read) and "session deleted" in told(read))
    finally:
        logging.getLogger("callback_manager").setLevel(logging.NOTSET)

    assert told(hook)[:2] == ["session created", "attempt to deliver failed"]
    assert told(read)[:2] == ["session created", "reader connected"]
