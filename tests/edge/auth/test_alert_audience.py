"""An alert reaches its audience and nobody else: on every transport, in the list of alerts, and for who may act on it."""

from __future__ import annotations

import json
from typing import Any

from router.broker import Broker
from router.subject import escape
from tests.edge.auth.conftest import SecuredEdge
from tests.edge.conftest import store  # noqa: F401
from tests.edge.webhooks.stage import Receiver
from tests.router.firings import raised
from tests.waiting import eventually


async def ids(edge: SecuredEdge, rule: str) -> list[str]:
    answer = await edge.http.get(f"/alerts?rule={rule}&limit=1000")
    assert answer.status_code == 200, answer.text
    return [alert["id"] for alert in answer.json()["alerts"]]


async def test_each_user_sees_its_own_alerts_and_those_without_an_audience_go_by_the_grants(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    # Their alerts stay in the server that other tests use: nobody else may be called so.
    one, two = f"alice-{entity}", f"bob-{entity}"
    alice, bob, root = edge.as_(one), edge.as_(two), edge.as_("root", operate=True)
    reader = edge.as_("carol", read=[f"alert.{entity}.*"])
    hers = await raised(store, entity, "hers", audience=(one,))
    theirs = await raised(store, entity, "theirs", audience=(one, two))
    open_ = await raised(store, entity, "open")

    await eventually(lambda: _has(root, entity, {hers.id, theirs.id, open_.id}))
    await eventually(lambda: _has(alice, entity, {hers.id, theirs.id}))
    assert await ids(bob, entity) == [theirs.id]
    assert await ids(reader, entity) == [open_.id]
    for user, status in ((alice, 200), (root, 200), (bob, 404), (reader, 404)):
        assert (await user.http.get(f"/alerts/{hers.id}")).status_code == status


async def _has(edge: SecuredEdge, rule: str, wanted: set[str]) -> bool:
    return set(await ids(edge, rule)) == wanted


async def test_who_is_concerned_may_act_and_others_need_the_command(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    concerned = f"alice-{entity}"
    alice, bob = edge.as_(concerned), edge.as_("bob", read=["alert.>"])
    hand = edge.as_("dora", read=["alert.>"], command=["alerts.main.dismiss"])
    record = await raised(store, entity, audience=(concerned,))
    path = f"/alerts/{record.id}"

    done = await alice.http.post(f"{path}/acknowledge")
    assert (done.status_code, done.json()["history"][-1]["by"]) == (200, concerned)
    refused = await bob.http.post(f"{path}/resolve")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
    assert (await hand.http.post(f"{path}/resolve")).status_code == 403
    assert (await hand.http.post(f"{path}/dismiss")).status_code == 200
    assert (await edge.as_("eve").http.post(f"{path}/resolve")).status_code == 404


async def test_the_events_of_an_alert_reach_its_audience_by_every_transport_and_nobody_else(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    one, two = f"a-{entity}", f"b@{entity}.org"
    alice, bob = edge.as_(one), edge.as_(two)
    reader = edge.as_("carol", read=["alert.*.*", f"alert.{entity}.>", f"alert.{one}.>"])
    everybody = [alice, bob, reader]
    channels = [f"alert._{escape(one)}", f"alert._{escape(two)}"]
    for user, channel in ((bob, channels[0]), (alice, channels[1]), (reader, channels[0])):
        asked = await user.http.post("/callbacks/sessions", json={"subjects": [f"{channel}.>"]})
        assert asked.status_code == 403
    sessions = [await each.session() for each in everybody]

    async with Receiver().serving() as receiver:
        for user in everybody:
            hook = {"delivery_method": "webhook", "webhook_url": receiver.url}
            made = await user.http.post("/callbacks/sessions", json=hook)
            assert made.status_code == 201, made.text
        for key, audience in (("hers", (one,)), ("his", (two,)), ("both", (one, two)), ("all", ())):
            await raised(store, entity, key, audience=audience)

        for user, session, keys in zip(everybody, sessions, [["hers", "both"], ["his", "both"], ["all"]], strict=True):
            polled = (await user.poll(session, "?limit=1000"))["events"]
            assert _keys(polled) == keys
            async with user.socket(session) as socket, user.sse(session) as stream:
                assert _keys(await socket.events(len(keys))) == _keys(await stream.events(len(keys))) == keys
        await eventually(lambda: len(receiver.posts) >= 5)
        posted = sorted(json.loads(post.body)["subject"] for post in receiver.posts)
    assert posted == sorted([f"{channel}.{entity}.firing" for channel in channels] * 2 + [f"alert.{entity}.firing"])


def _keys(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["key"] for event in events]
