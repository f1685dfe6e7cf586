"""The receiver of a webhook acts on the alerts that it is posted, by calls that it signs, and on no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from router.broker import Broker
from router.clock import wall
from router.codec import to_json
from tests.edge.auth.conftest import SecuredEdge, edge, secured  # noqa: F401
from tests.edge.conftest import store  # noqa: F401
from tests.edge.webhooks.stage import Receiver
from tests.router.firings import raised
from tests.waiting import eventually


async def hook(via: SecuredEdge, receiver: Receiver, **more: Any) -> dict[str, Any]:
    made = await via.http.post(
        "/callbacks/sessions", json={"delivery_method": "webhook", "webhook_url": receiver.url, **more}
    )
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def signed(
    via: SecuredEdge, session: dict[str, Any], secret: str = "", age: int = 0, **body: Any
) -> httpx.Response:
    """A call as a receiver makes it, by the library of Standard Webhooks."""
    content = to_json(body).decode()
    at = datetime.fromtimestamp(int(wall.now()) - age, UTC)
    signature = Webhook(secret or session["webhook_secret"]).sign("call-1", at, content)
    headers = {"webhook-id": "call-1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return await via.http.post(f"/callbacks/sessions/{session['session_id']}/alerts", content=content, headers=headers)


async def test_a_receiver_answers_an_alert_that_it_was_posted(
    edge: SecuredEdge,  # noqa: F811
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    user = f"u-{entity}"
    async with Receiver().serving() as receiver:
        session = await hook(edge.as_(user), receiver)
        await raised(store, entity, audience=(user,))
        await eventually(lambda: receiver.posts)
        alert = json.loads(receiver.posts[0].body)["data"]["alert"]
        call = {"alert": alert, "action": "snooze", "for": 600, "comment": "from the phone"}
        done = await signed(edge, session, **call)
        assert done.status_code == 200, done.text
        step = done.json()["history"][-1]
        assert (done.json()["state"], step["by"], step["comment"]) == (
            "snoozed",
            session["session_id"],
            "from the phone",
        )
        again = await signed(edge, session, **call)
        assert len(again.json()["history"]) in (2, 3)

        for refused in (
            await signed(edge, session, secret="whsec_" + "A" * 32, **call),
            await signed(edge, session, age=400, **call),
            await signed(edge, {**session, "session_id": "sess_0123456789abcdef"}, **call),
            await edge.http.post(f"/callbacks/sessions/{session['session_id']}/alerts", json=call),
        ):
            assert (refused.status_code, refused.json()["code"]) == (401, "bad_signature")
        bad = await signed(edge, session, alert=alert, action="resolve", **{"for": 60})
        assert (bad.status_code, bad.json()["code"]) == (422, "bad_body")


async def test_alerts_of_others_need_a_permission_that_only_who_may_act_gives(
    edge: SecuredEdge,  # noqa: F811
    store: Broker,  # noqa: F811
    entity: str,
) -> None:
    reader = edge.as_("carol", read=[f"alert.{entity}.*"])
    hand = edge.as_("dora", read=[f"alert.{entity}.*"], command=["alerts.main.*"])
    open_ = await raised(store, entity, "open")
    private = await raised(store, entity, "private", audience=(f"zoe-{entity}",))
    async with Receiver().serving() as receiver:
        wanted = {"delivery_method": "webhook", "webhook_url": receiver.url, "alert_actions": True}
        refused = await reader.http.post("/callbacks/sessions", json=wanted)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
        watching, acting = await hook(reader, receiver), await hook(hand, receiver, alert_actions=True)
        change = {"alert_actions": True}
        assert (
            await reader.http.patch(f"/callbacks/sessions/{watching['session_id']}", json=change)
        ).status_code == 403

        only_read = await signed(edge, watching, alert=open_.id, action="dismiss")
        assert (only_read.status_code, only_read.json()["code"]) == (403, "not_granted")
        hidden = await signed(edge, acting, alert=private.id, action="dismiss")
        assert (hidden.status_code, hidden.json()["code"]) == (404, "alert_not_found")
        done = await signed(edge, acting, alert=open_.id, action="dismiss")
        assert (done.status_code, done.json()["state"]) == (200, "dismissed")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}"])
async def test_a_signed_call_without_sense_is_refused(
    edge: SecuredEdge,  # noqa: F811
    body: bytes,
) -> None:
    async with Receiver().serving() as receiver:
        session = await hook(edge.as_("alice"), receiver)
    at = datetime.fromtimestamp(int(wall.now()), UTC)
    headers = {
        "webhook-id": "call-1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(session["webhook_secret"]).sign("call-1", at, body.decode()),
    }
    path = f"/callbacks/sessions/{session['session_id']}/alerts"
    assert (await edge.http.post(path, content=body, headers=headers)).status_code in (400, 422)
