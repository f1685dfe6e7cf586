"""A right that is taken away and given back by a real nats-server, which keeps the connection: what it carried is heard again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.broker import Broker
from router.errors import Timeout
from router.event import Event
from router.live_copy import listen
from router.nats.connection import Connection
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from router.record import Record
from tests.edge.conftest import EdgeFactory
from tests.servers import Server, running_server
from tests.waiting import eventually

WITHIN = 30


class Rights:
    """A nats-server with one user, whose right to subscribe may change while it runs."""

    def __init__(self, server: Server, port: int, config: str) -> None:
        self.url = f"nats://me:s3cret@127.0.0.1:{port}"
        self.plain_url = f"nats://all:s3cret@127.0.0.1:{port}"
        self._server = server
        self._config = config

    def deny(self, *subjects: str) -> None:
        """Takes the right to subscribe to these away; without any, gives all back."""
        self._server.config.write_text(configured(self._config, *subjects))
        self._server.reload()


def configured(config: str, *denied: str) -> str:
    listed = ", ".join(f'"{subject}"' for subject in denied)
    deny = f", permissions: {{ subscribe: {{ deny: [{listed}] }} }}" if denied else ""
    users = f"{{ user: me, password: s3cret{deny} }}, {{ user: all, password: s3cret }}"
    return f"{config}\nauthorization {{ users: [ {users} ] }}\n"


@pytest.fixture
def rights(tmp_path: Path) -> Iterator[Rights]:
    port = free_port()
    config = f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{tmp_path / "data"}" }}'
    with running_server(tmp_path, configured(config)) as server:
        yield Rights(server, port, config)


async def test_a_right_given_back_is_used_again(rights: Rights, entity: str) -> None:
    heard: list[Record] = []
    losses: list[str] = []
    regained: list[str] = []
    async with (
        Broker(BrokerSettings(rights.url), "test") as broker,
        Broker(BrokerSettings(rights.plain_url), "producer") as producer,
    ):
        connection = broker.connection
        connection.on_loss(lambda: losses.append("lost"))
        connection.on_reconnect(lambda: regained.append("back"))
        await listen(broker.connection, f"job.{entity}.>", heard.append)

        rights.deny("live.ev.>")
        await eventually(lambda: connection.refused_subjects == [f"live.ev.job.{entity}.>"], WITHIN)
        assert losses == ["lost"]
        await producer.publish(Event.new(f"job.{entity}.output", {"n": 1}))
        # It stays refused over several tries, and is told once.
        await eventually(lambda: connection._denied._again, WITHIN)
        assert (losses, regained, heard) == (["lost"], [], [])

        rights.deny()
        await eventually(lambda: regained, WITHIN)
        assert connection.connected and connection.reconnects == 0
        assert connection.refused_subjects == []
        await producer.publish(Event.new(f"job.{entity}.output", {"n": 2}))
        await eventually(lambda: [record.event.data["n"] for record in heard if record.event] == [2], WITHIN)


async def test_a_subscription_that_was_refused_from_the_start_is_heard_once_it_is_allowed(
    rights: Rights, entity: str
) -> None:
    heard: list[bytes] = []
    rights.deny(f"cmd.{entity}.>")
    connection, other = (Connection(BrokerSettings(url), "test") for url in (rights.url, rights.plain_url))
    await connection.open()
    await other.open()
    try:
        await connection.listen(f"cmd.{entity}.Stop", lambda _s, _r, payload, _h: heard.append(payload), queue="Q")
        assert connection.refused_subjects == [f"cmd.{entity}.Stop"]

        rights.deny()
        await eventually(lambda: not connection.refused_subjects, WITHIN)
        await other.send(f"cmd.{entity}.Stop", b"now")
        await eventually(lambda: heard == [b"now"], WITHIN)
    finally:
        await connection.close()
        await other.close()


async def test_answers_come_again_once_the_inbox_is_allowed_again(rights: Rights, entity: str) -> None:
    async with Broker(BrokerSettings(rights.url, request_timeout=1.0), "test") as broker:
        rights.deny("_INBOX.>")
        await eventually(lambda: broker.connection.refused_subjects, WITHIN)
        with pytest.raises(Timeout):
            await broker.connection.api("STREAM.INFO.EVENTS")

        rights.deny()
        await eventually(lambda: not broker.connection.refused_subjects, WITHIN)
        assert await broker.connection.api("STREAM.INFO.EVENTS")


async def test_what_is_not_wanted_any_more_is_not_asked_for(rights: Rights, entity: str) -> None:
    connection = Connection(BrokerSettings(rights.url), "test")
    await connection.open()
    try:
        rights.deny(f"cmd.{entity}.>")
        listening = await connection.listen(f"cmd.{entity}.stop", lambda *_: None)
        assert connection.refused_subjects

        await listening.stop()

        await eventually(lambda: not connection.refused_subjects, WITHIN)
    finally:
        await connection.close()


async def test_readers_get_what_was_stored_while_the_right_was_away_and_readiness_says_so(
    rights: Rights, entity: str, edge_factory: EdgeFactory
) -> None:
    async with (
        edge_factory(nats=BrokerSettings(rights.url)) as edge,
        Broker(BrokerSettings(rights.plain_url), "producer") as producer,
    ):
        session = await edge.session(subjects=[f"job.{entity}.>"])
        async with edge.socket(session) as socket:
            await socket.control("ready")

            async def publish(n: int) -> None:
                await producer.publish(Event.new(f"job.{entity}.output", {"n": n}))

            async def readiness() -> dict[str, bool]:
                checks: dict[str, bool] = (await edge.http.get("/readyz")).json()["checks"]
                return checks

            await publish(1)
            assert [event["data"]["n"] for event in await socket.events(1)] == [1]
            rights.deny("live.ev.>")

            async def said() -> bool:
                return (await readiness())["subscriptions"] is False

            await eventually(said, WITHIN)
            assert (await edge.http.get("/readyz")).status_code == 503
            await publish(2)
            await publish(3)
            rights.deny()

            async def ready() -> bool:
                return (await edge.http.get("/readyz")).status_code == 200

            await eventually(ready, WITHIN)
            await publish(4)
            assert [event["data"]["n"] for event in await socket.events(3)] == [2, 3, 4]
