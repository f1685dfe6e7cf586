"""Entities are shown to those who may read them, with as much of them."""

from __future__ import annotations

from router.broker import Broker
from router.event import Event
from tests.edge.auth.conftest import SecuredEdge
from tests.edge.conftest import store  # noqa: F401


async def test_entities_that_are_not_granted_are_not_there(
    edge: SecuredEdge,
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    for name in ("a", "b"):
        data = {"entity": entity + name, "version": 1, "values": {"clicks": 1}}
        await store.publish(Event.new(f"metric.{entity}{name}.state", data))
    await store.publish(
        Event.new(
            f"metric.{entity}a.changed", {"entity": f"{entity}a", "base": 1, "version": 2, "values": {"clicks": 9}}
        )
    )
    whole, part = edge.as_("alice", read=[f"metric.{entity}a.*"]), edge.as_("bob", read=[f"metric.{entity}a.state"])
    nobody = edge.as_("carol", read=["job.>"])

    for reader, clicks in ((whole, 9), (part, 1)):
        answer = (await reader.http.get("/entities")).json()
        assert [(each["entity"], each["values"]) for each in answer["entities"]] == [(f"{entity}a", {"clicks": clicks})]
        assert (await reader.http.get(f"/entities/{entity}b")).status_code == 404
    assert (await nobody.http.get("/entities")).json()["entities"] == []
    assert (await edge.http.get("/entities")).status_code == 401
