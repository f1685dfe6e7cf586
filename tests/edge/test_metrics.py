"""What the edge shows of itself: readers by state, what was dropped and why, delays of what is live and of what is replayed."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.settings import SessionSettings
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import eventually


async def value(edge: RunningEdge, name: str, **labels: str) -> float:
    text = (await edge.http.get("/metrics")).text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples if each.name == name]
    found = [each.value for each in samples if labels.items() <= each.labels.items()]
    assert found, (name, labels)
    return sum(found)


async def test_a_readers_state_and_how_it_began_are_shown(edge: RunningEdge, entity: str) -> None:
    live = {"transport": "websocket", "state": "live"}
    before = await value(edge, "edge_reader_states", **live)
    recovered = await value(edge, "edge_recoveries_total", outcome="recovered")
    fresh = await value(edge, "edge_recoveries_total", outcome="fresh")
    session = await edge.session(subjects=[f"job.{entity}.>"])
    (cursor,) = await edge.numbers(entity, 1)

    async with edge.socket(session, "?cursor=now") as one, edge.socket(session, f"?cursor={cursor}") as other:
        await one.control("ready")
        await other.control("ready")

        async def both_live() -> bool:
            return await value(edge, "edge_reader_states", **live) == before + 2

        await eventually(both_live)
        assert await value(edge, "edge_recoveries_total", outcome="recovered") == recovered + 1
        assert await value(edge, "edge_recoveries_total", outcome="fresh") == fresh + 1

    async def gone() -> bool:
        return await value(edge, "edge_reader_states", **live) == before

    await eventually(gone)


async def test_delays_of_what_is_replayed_do_not_count_as_delays_of_live_delivery(
    edge: RunningEdge, entity: str
) -> None:
    live, late = "edge_publish_to_write_seconds_count", "edge_publish_to_replay_seconds_count"
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 5)
    written, replayed = await value(edge, live), await value(edge, late)
    again = await value(edge, "edge_replayed_events_total", transport="websocket")
    size = await value(edge, "edge_written_bytes_total", transport="websocket")

    async with edge.socket(session, "?cursor=earliest") as socket:
        await socket.events(5)

        async def told() -> bool:
            return await value(edge, "edge_replayed_events_total", transport="websocket") == again + 5

        await eventually(told)
        assert await value(edge, live) == written and await value(edge, late) > replayed
        await edge.numbers(entity, 1, start=5)
        await socket.events(1)

        async def live_told() -> bool:
            return await value(edge, live) == written + 1

        await eventually(live_told)
        assert await value(edge, "edge_written_bytes_total", transport="websocket") > size + 6 * 100


async def test_what_a_reader_asked_to_leave_out_is_counted_as_dropped(edge: RunningEdge, entity: str) -> None:
    before = await value(edge, "edge_dropped_events_total", reason="conflated")
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 20, kind="progress")

    async with edge.socket(session, "?cursor=earliest&conflate=true") as socket:
        (event,) = await socket.events(1)

    assert event["data"] == {"n": 19}
    assert await value(edge, "edge_dropped_events_total", reason="conflated") == before + 19


@pytest.mark.slow
async def test_a_reader_that_takes_nothing_spills_and_is_seen_to_be_behind(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with edge_factory(session=SessionSettings(mailbox_events=20, mailbox_bytes=64 * 1024)) as edge:
        spills = await value(edge, "edge_spills_total")
        session = await edge.session(subjects=[f"job.{entity}.>"])
        async with edge.socket(session, "?cursor=now", max_queue=1, compression=None) as socket:
            await socket.control("ready")

            async def behind() -> bool:
                await edge.publish(
                    *({"subject": f"job.{entity}.output", "data": {"text": "x" * 20_000}} for _ in range(30))
                )
                shown = {
                    name: await value(edge, name)
                    for name in ("edge_spills_total", "edge_lag_events", "edge_lag_seconds")
                }
                assert shown["edge_spills_total"] > spills, shown
                assert shown["edge_lag_events"] > 0 and shown["edge_lag_seconds"] > 0, shown
                return True

            await eventually(behind)


async def test_a_poll_confirms_the_one_before_it(edge: RunningEdge, entity: str) -> None:
    name = "edge_publish_to_acknowledge_seconds_count"
    before = await value(edge, name, transport="polling")
    session = await edge.session(delivery_method="polling", subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 3)

    polled = await edge.poll(session, "?cursor=earliest")
    assert await value(edge, name, transport="polling") == before
    await edge.poll(session, f"?cursor={polled['next']}")

    assert await value(edge, name, transport="polling") == before + 1


async def test_requests_are_counted_by_route_and_refusals_by_code(edge: RunningEdge) -> None:
    route = {"route": "/callbacks/sessions/{session_id}", "status": "4xx"}
    before = await value(edge, "edge_requests_total", **route)
    refused = await value(edge, "edge_refusals_total", code="session_not_found")

    await edge.http.get("/callbacks/sessions/sess_nobody")

    assert await value(edge, "edge_requests_total", **route) == before + 1
    assert await value(edge, "edge_refusals_total", code="session_not_found") == refused + 1


async def test_a_refusal_counts_once_however_many_faults_led_to_it(edge: RunningEdge) -> None:
    before = await value(edge, "edge_refusals_total")
    webhook = {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/hook"}

    refused = await edge.http.post("/callbacks/sessions", json={**webhook, "batch": {"max_n": 0}})

    assert refused.status_code == 422
    assert await value(edge, "edge_refusals_total") == before + 1


async def test_a_websocket_that_is_refused_in_band_counts_once(edge: RunningEdge) -> None:
    before = await value(edge, "edge_refusals_total")
    session = await edge.session()

    async with edge.socket("sess_nobody") as unknown, edge.socket(session, "?cursor=nonsense") as elsewhere:
        assert (await unknown.next())["code"] == "session_not_found"
        assert (await elsewhere.next())["code"] == "bad_cursor"

    assert await value(edge, "edge_refusals_total") == before + 2


async def test_streams_and_connections_are_shown(edge: RunningEdge, entity: str) -> None:
    await edge.numbers(entity, 1)

    async def surveyed() -> bool:
        return await value(edge, "router_stream_last_sequence", stream="EVENTS") > 0

    await eventually(surveyed)
    assert await value(edge, "router_stream_leader", stream="HOOKS") == 1
    assert await value(edge, "router_nats_connected") >= 1
    assert await value(edge, "router_publish_to_store_seconds_count") >= 1
