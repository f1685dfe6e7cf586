"""What `callboard doctor` says of the room for recordings."""

from __future__ import annotations

from pathlib import Path

from ops.cli.checks.findings import OK, WARN
from ops.cli.checks.recordings import examine_recordings, recordings_finding
from router.broker import Broker
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.recordings import Usage
from router.topology import MIB
from tests.waiting import unhurried


def test_a_store_that_fills_is_told_with_what_helps() -> None:
    roomy, full = recordings_finding(Usage(100 * MIB, 2048 * MIB)), recordings_finding(Usage(1700 * MIB, 2048 * MIB))

    assert (roomy.verdict, roomy.found) == (OK, "100 MiB of 2048 MiB")
    assert full.verdict == WARN and "1700 MiB of 2048 MiB" in full.found
    assert "CALLBOARD_RECORDINGS_MAX_BYTES" in full.mend
    assert recordings_finding(Usage(5 * MIB, None)).verdict == OK


async def test_it_asks_the_stream(broker: Broker) -> None:
    (found,) = await examine_recordings(broker)

    assert found.check == "recordings" and "of 2048 MiB" in found.found


async def test_a_server_without_storage_for_recordings_is_a_warning_with_the_setting_that_helps(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(tmp_path, free_port(), max_file="4GB"))
    await server.start()
    try:
        async with Broker(unhurried(server.url), "t") as broker:
            (found,) = await examine_recordings(broker)
    finally:
        await server.stop()

    assert found.verdict == WARN and "cameras cannot record" in found.found
    assert "lower CALLBOARD_RECORDINGS_MAX_BYTES" in found.mend
