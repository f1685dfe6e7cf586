"""Live connections: told that their token ends, closed when it does, and renewed by another, wherever they are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge.auth.authenticator import Authenticator
from edge.auth.connection import ConnectionAuth, ConnectionAuths
from edge.auth.grants import Grants
from edge.auth.principal import EVERYBODY, Principal
from edge.disconnect import EXPIRED, FORBIDDEN, Disconnect
from edge.errors import Problem
from edge.sessions.registry import Session
from edge.sessions.spec import SessionSpec
from edge.settings import IdentitySettings, LimitSettings
from edge.view import View
from router.broker import Broker
from router.cluster import peers
from tests.edge.auth.conftest import SECRET, SecuredEdge, token
from tests.waiting import PATIENCE


class FakeReader:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.closed: Disconnect | None = None
        self.said: list[tuple[str, dict[str, Any]]] = []

    def change(self, view: View) -> None:
        self.views.append(view)

    def close(self, reason: Disconnect) -> None:
        self.closed = reason

    def notify(self, control: str, body: dict[str, Any]) -> bool:
        self.said.append((control, body))
        return True


def session(*subjects: str, id: str = "sess_0123456789abcdef", owner: str = "- alice") -> Session:
    return Session(
        SessionSpec(
            id=id, delivery_method="sse", created=1, start="1-5f3a9c1e-000000000000", subjects=list(subjects) or None,
            owner=owner,
        ),
        1,
    )  # fmt: skip


def alice(expires: float, *read: str, id: str = "- alice") -> Principal:
    return Principal(id, Grants.of(read or (">",)), expires)


def auths(broker: Broker, others: int = 1, **limits: Any) -> ConnectionAuths:
    authenticator = Authenticator(IdentitySettings(secret=SECRET), LimitSettings(**limits), (), broker.connection)
    return ConnectionAuths(authenticator, broker.connection, f"edge-{id(authenticator)}", lambda: others)


def attached(auths: ConnectionAuths, principal: Principal, of: Session) -> tuple[ConnectionAuth, FakeReader]:
    auth, reader = auths.open(principal, of, "192.0.2.1"), FakeReader()
    assert auth
    auth.attach(reader)
    return auth, reader


async def test_a_connection_is_told_that_its_token_ends_and_then_closed_to_come_back(broker: Broker) -> None:
    mine, now = auths(broker), time.time()
    _, reader = attached(mine, alice(now + 100), session())

    mine.sweep(now + 39)
    assert reader.said == [] and reader.closed is None
    mine.sweep(now + 41)
    mine.sweep(now + 99)
    ((control, body),) = reader.said
    assert (control, body["refresh"]) == ("expiring", True) and 58 < body["seconds"] < 60
    assert body["expires_at"].endswith("Z")
    mine.sweep(now + 100.1)
    assert reader.closed == EXPIRED and EXPIRED.reconnect


async def test_a_connection_that_closed_is_not_checked_and_not_kept(broker: Broker) -> None:
    mine, now = auths(broker, handshakes_per_address=0), time.time()
    for _ in range(5000):
        auth, reader = attached(mine, alice(now + 1000), session())
        auth.leave()
        auth.leave()

    assert len(mine) == 0 and len(mine._due) <= 1001
    mine.sweep(now + 2000)
    assert reader.closed is None and mine._due == []


async def test_a_request_that_ends_without_a_reader_releases_its_slot(broker: Broker) -> None:
    mine = auths(broker, connections_per_principal=1)
    refused = mine.open(alice(1e10), session(), "192.0.2.1")
    assert refused
    with pytest.raises(Problem):
        mine.open(alice(1e10), session(), "192.0.2.1")
    refused.done()

    kept, _ = attached(mine, alice(1e10), session())
    kept.done()
    with pytest.raises(Problem):
        mine.open(alice(1e10), session(), "192.0.2.1")
    kept.leave()
    assert mine.open(alice(1e10), session(), "192.0.2.1")


async def test_without_authentication_there_is_none_for_connections(broker: Broker) -> None:
    authenticator = Authenticator(IdentitySettings(), LimitSettings(), (), broker.connection)

    assert (
        ConnectionAuths(authenticator, broker.connection, "x", lambda: 1).open(EVERYBODY, session(), "127.0.0.1")
        is None
    )


async def test_a_new_token_over_the_connection_moves_its_end(broker: Broker) -> None:
    mine, now = auths(broker), time.time()
    auth, reader = attached(mine, alice(now + 30), session())
    mine.sweep(now + 1)
    answer = auth.refresh(token("alice", ttl=600, read=[">"]))
    mine.sweep(now + 500)

    assert (answer["control"], answer["expires_at"][:4]) == ("refreshed", str(time.gmtime().tm_year))
    assert reader.closed is None and len(reader.said) == 1 and reader.views == []
    mine.sweep(now + 560)
    assert len(reader.said) == 2
    mine.sweep(now + 620)
    assert reader.closed == EXPIRED


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (token("bob", 3600, read=[">"]), "not_granted"),
        (token("alice", 3600, read=["agent.>"]), "not_granted"),
        (token("alice", ttl=-100, read=["job.>"]) + "x", "bad_token"),
        ("x", "bad_token"),
        (None, "bad_token"),
        ({"a": 1}, "bad_token"),
    ],
)
async def test_a_token_that_is_not_good_changes_nothing(broker: Broker, said: object, code: str) -> None:
    mine, now = auths(broker), time.time()
    auth, reader = attached(mine, alice(now + 100, "job.>"), session("job.>"))
    before = auth.principal
    answer = auth.refresh(said)

    assert (answer["control"], answer["code"]) == ("error", code)
    assert auth.principal is before and reader.views == [] and reader.closed is None


async def test_a_new_token_that_grants_less_shows_less_of_a_session_without_subjects(broker: Broker) -> None:
    mine, now = auths(broker), time.time()
    auth, reader = attached(mine, alice(now + 100, "job.>", "agent.>"), session())
    auth.refresh(token("alice", read=["job.>"]))

    (view,) = reader.views
    assert view.admits("job.x.output", "output") and not view.admits("agent.x.output", "output")


async def test_a_change_of_the_session_is_followed_as_far_as_it_is_granted(broker: Broker) -> None:
    mine, now = auths(broker), time.time()
    auth, reader = attached(mine, alice(now + 100, "job.>"), session("job.a.>"))
    auth.change(session("job.b.>"))
    assert reader.views[-1].patterns == ("job.b.>",) and reader.closed is None
    auth.change(session())
    assert set(reader.views[-1].patterns) == {"job.>", "session.sess_0123456789abcdef.>"}

    auth.change(session("agent.>"))

    assert reader.closed == FORBIDDEN and not FORBIDDEN.reconnect and len(reader.views) == 2


@contextlib.asynccontextmanager
async def _running(*several: ConnectionAuths) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in several]
        await asyncio.sleep(0)
        for each in several:
            await each._connection.flush()
        yield
        for task in tasks:
            task.cancel()


async def test_a_refresh_reaches_the_connections_of_the_principal_on_every_replica(
    broker: Broker, broker_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who is slow to answer is not counted.
    monkeypatch.setattr(peers, "TIMEOUT", PATIENCE)
    async with Broker(broker_settings, "other") as second:
        one, other = auths(broker, 2), auths(second, 2)
        shared, now = session(), time.time()
        here, _ = attached(one, alice(now + 10), shared)
        there = [attached(other, alice(now + 10), shared)[0] for _ in range(3)]
        strangers = [
            attached(other, alice(now + 10, id="- root"), shared)[0],
            attached(other, alice(now + 10), session(id="sess_fedcba9876543210"))[0],
        ]
        async with _running(one, other):
            renewed = await one.renew(alice(now + 500), shared.id)

    assert renewed == 4
    assert {auth.principal.expires for auth in (here, *there)} == {now + 500}
    assert {auth.principal.expires for auth in strangers} == {now + 10}


async def test_the_route_takes_the_token_it_is_asked_with(edge: SecuredEdge) -> None:
    edge_ = edge.as_("alice", read=["job.>"])
    mine = await edge_.session(subjects=["job.>"])
    answer = await edge_.http.post(f"/callbacks/sessions/{mine}/refresh")
    narrow = await edge.as_("alice", read=["agent.>"]).http.post(f"/callbacks/sessions/{mine}/refresh")

    assert answer.json()["session_id"] == mine and answer.json()["connections"] == 0
    assert answer.json()["expires_at"].endswith("Z")
    assert (narrow.status_code, narrow.json()["code"]) == (403, "not_granted")
