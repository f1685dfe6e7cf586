"""What `callboard doctor` says of each camera."""

from __future__ import annotations

from typing import Any

import pytest

from ops.cli.checks.cameras import camera_finding, examine_cameras
from ops.cli.checks.findings import OK, WARN
from router.broker import Broker
from router.cluster.leases import lease_key
from router.nats.bucket import Bucket
from router.states import StateEntry, StateStore
from router.topology import LEASES

SINCE = "2026-11-27T03:00:00.000000Z"
STATE = {"status": "streaming", "since": SINCE, "source": "rtsp", "host": "cam:554", "width": 640, "height": 480}


def test_a_camera_that_works_needs_nothing() -> None:
    found = camera_finding("door", STATE)

    assert (found.check, found.verdict, found.mend) == ("camera door", OK, "")
    assert found.found == f"streaming since {SINCE}; its source is rtsp cam:554, 640 x 480"


@pytest.mark.parametrize(
    ("change", "told", "mend"),
    [
        (
            {"status": "failed", "reason": "cam:554 refuses the login"},
            "(cam:554 refuses the login)",
            "CALLBOARD_CAMERAS",
        ),
        ({"status": "gone", "reason": "its process ended"}, "gone since", "callboard actor camera --instance door"),
    ],
)
def test_one_that_does_not_is_told_with_its_reason_and_what_to_do(change: dict[str, Any], told: str, mend: str) -> None:
    found = camera_finding("door", STATE | change)

    assert found.verdict == WARN and told in found.found and mend in found.mend


async def test_each_camera_is_judged_by_its_state_and_its_lease(broker: Broker) -> None:
    store, leases = StateStore(broker), Bucket(broker.connection, LEASES)
    for name, status in (("doctor-b", "streaming"), ("doctor-a", "failed"), ("doctor-c", "streaming")):
        entry = StateEntry(life=1, status=status, since=SINCE, updated=SINCE, data={"source": "simulated"})
        await store.write("camera", name, entry, 0)
        if name != "doctor-c":
            await leases.put(lease_key("actor", "camera", name), b"somebody", ttl=60)

    found = {each.check: each.found.partition(" ")[0] for each in await examine_cameras(broker)}

    expected = {"camera doctor-a": "failed", "camera doctor-b": "streaming", "camera doctor-c": "gone"}
    assert found.items() >= expected.items()
