"""What `callboard doctor` finds at the edge."""

from __future__ import annotations

import email.utils
import time

from ops.cli.checks.edge import _clock, examine_edge, examine_shortages
from ops.cli.checks.findings import FAIL, INFO, OK, WARN
from ops.environment import RawValue
from ops.settings import Settings
from router.nats.embedded import free_port


def test_clocks_that_differ_are_told() -> None:
    def date(off: float) -> str:
        return email.utils.formatdate(time.time() + off, usegmt=True)

    assert _clock(date(0)).verdict == OK
    assert _clock(date(4)).verdict == WARN
    assert _clock(date(-60)).verdict == FAIL


def test_an_edge_that_does_not_say_its_time_is_no_failure() -> None:
    assert _clock(None).verdict == INFO
    assert _clock("yesterday").verdict == INFO


def test_the_doctor_says_what_an_edge_lacked_and_what_to_do() -> None:
    (well,) = examine_shortages({})
    bad = examine_shortages({"descriptors": 12.4, "address": 3.0})

    assert well.verdict == OK
    assert [each.verdict for each in bad] == [WARN, WARN]
    assert "file descriptors, last 12 s ago" in bad[0].found and "LimitNOFILE" in bad[0].mend
    assert "denied" in bad[1].found and "CALLBOARD_WEBHOOK_ALLOW_CIDRS" in bad[1].mend


async def test_a_free_port_is_told_from_one_that_another_program_has() -> None:
    port = free_port()
    url = RawValue(f"http://127.0.0.1:{port}", "flag", "--edge-url")
    settings = Settings.load("edge", flags={"CALLBOARD_EDGE_URL": url}, adopt=())

    (found,) = [finding async for finding in examine_edge(settings)]

    assert found.verdict == WARN and found.found == f"nothing listens at http://127.0.0.1:{port}"
