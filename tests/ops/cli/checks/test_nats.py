"""What `callboard doctor` finds at NATS: rights, sizes, webhook partitions without an owner."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from actors.alerts.actor import Alerts, AlertsSettings
from actors.alerts.alertmanager import AlertmanagerSettings
from edge.webhooks.queue.job import PARTITIONS
from ops.cli.checks import nats
from ops.cli.checks.findings import FAIL, OK, WARN, CheckResult
from ops.cli.checks.nats import _alerts, _partitions
from router import layout_entry
from router.broker import Broker
from router.cluster.ownership import member_key, owner_key, owner_value
from router.layout_entry import KEY
from router.limits import largest_event
from router.nats.bucket import Bucket
from router.nats.embedded import free_port
from router.topology import LAYOUT, LEASES
from tests.actors.alerts.readings import HOT, written
from tests.actors.system.running import running_actor
from tests.ops.command import callboard, doctor_findings
from tests.router.resharding import broker_of, reshard
from tests.servers import running_server, serving_small
from tests.waiting import eventually, unhurried

NARROW = """
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}" }}
authorization {{
  users: [
    {{ user: all, password: all }}
    {{ user: narrow, password: narrow, permissions: {{
        publish: [ "$JS.API.STREAM.NAMES", "$SRV.>" ], subscribe: [ "_INBOX.>" ] }} }}
  ]
}}
"""


async def test_rights_that_are_missing_and_a_secret_that_others_may_read_are_found(tmp_path: Path) -> None:
    port, seed = free_port(), tmp_path / "seed"
    seed.write_text("SUAOPENTOALL")
    seed.chmod(0o644)
    with running_server(tmp_path, NARROW.format(port=port, folder=tmp_path / "store")):
        url = {"NATS_URL": f"nats://127.0.0.1:{port}"}
        made = await asyncio.to_thread(callboard, "streams", "apply", **url, NATS_USER="all", NATS_PASSWORD="all")
        assert made.returncode == 0, made.stderr
        done = await asyncio.to_thread(
            callboard, "doctor", "--json", **url, NATS_USER="narrow", NATS_PASSWORD="narrow", NATS_REQUEST_TIMEOUT="1",
            DATA_DIR=str(tmp_path / "data"),
        )  # fmt: skip
    assert done.returncode == 1, done.stdout
    found = doctor_findings(done.stdout)
    assert found["nats"]["verdict"] == OK, done.stdout
    assert "could not be read" in found["octanes"]["found"]
    assert found["permissions"]["verdict"] == FAIL and "accounts.conf" in found["permissions"]["mend"]

    with_seed = await asyncio.to_thread(
        callboard, "doctor", "--json", NATS_NKEY_SEED=str(seed), NATS_URL=f"nats://127.0.0.1:{free_port()}",
        DATA_DIR=str(tmp_path / "data"),
    )  # fmt: skip
    found = doctor_findings(with_seed.stdout)
    assert found["NATS nkey seed"]["verdict"] == WARN and "chmod" in found["NATS nkey seed"]["mend"]


@pytest.mark.parametrize(("max_payload", "verdict"), [(1024 * 1024, "ok"), (10_000, "warn"), (4096, "fail")])
async def test_what_the_server_takes_and_how_large_an_event_may_be_is_said(
    tmp_path: Path, max_payload: int, verdict: str
) -> None:
    with serving_small(tmp_path, max_payload) as server:
        done = await asyncio.to_thread(callboard, "doctor", "--json", NATS_URL=server.url, DATA_DIR=str(tmp_path / "d"))

    (found,) = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "event size"]
    assert found["verdict"] == verdict
    assert f"{max_payload:,} bytes a message" in found["found"]
    assert f"{largest_event(max_payload):,}" in found["found"]


async def test_webhook_partitions_without_an_owner_that_lives_are_found(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats, "HAND_OVER", 0.0)
    async with Broker(unhurried(own_nats), "test") as broker:
        bucket = Bucket(broker.connection, LEASES)
        assert (await _partitions(broker)).verdict == WARN

        await bucket.put(member_key("edge"), b"1", 3600)
        for partition in range(PARTITIONS):
            await bucket.put(owner_key(partition), owner_value("edge"))
        assert (await _partitions(broker)).verdict == OK

        await bucket.put(owner_key(3), owner_value(""))
        await bucket.put(owner_key(9), owner_value("killed"))
        await bucket.delete(owner_key(11))
        found = await _partitions(broker)

    assert found.verdict == FAIL and "3 of 16" in found.found and "(3, 9, 11)" in found.found
    assert "restart" in found.mend


async def test_rules_that_are_not_in_force_and_an_alertmanager_that_is_away_are_found(
    own_nats: str, tmp_path: Path
) -> None:
    file, away = written(tmp_path, HOT), f"http://us:secret@127.0.0.1:{free_port()}"
    settings = AlertsSettings(rules_file=str(file), alertmanager=AlertmanagerSettings((away,)))
    async with Broker(unhurried(own_nats), "test") as broker:
        assert await _alerts(broker.connection) == []
        async with running_actor(lambda: Alerts(settings), broker):
            rules, manager = await eventually(lambda: _away(broker))
            assert (rules.verdict, rules.found) == (OK, "1 in force")
            assert manager.verdict == WARN and "never" in manager.found and "secret" not in manager.found

            written(tmp_path, "rules: [{name: hot, when: '1 +'}]\n")
            rules = await eventually(lambda: _mistaken(broker))
    assert "1 in force, others are not: rules.yaml:1:" in rules.found and "rules check" in rules.mend


async def _away(broker: Broker) -> list[CheckResult] | None:
    found = await _alerts(broker.connection)
    return found if found and found[-1].verdict == WARN else None


async def _mistaken(broker: Broker) -> CheckResult | None:
    found = await _alerts(broker.connection)
    return found[0] if found and found[0].verdict == WARN else None


async def test_a_reshard_that_is_not_finished_is_found_and_one_that_is_is_told(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await reshard(broker, 3)
        found = await nats._events(broker)
        assert (found.verdict, "in 4 streams, 1 of them sealed" in found.found) == (OK, True)

        entry = layout_entry.begun(broker.layouts.entry, 5)
        await Bucket(broker.connection, LAYOUT).put(KEY, msgspec.json.encode(entry))
        found = await nats._events(broker)
        assert (found.verdict, found.mend) == (FAIL, "`callboard streams reshard 5`")
