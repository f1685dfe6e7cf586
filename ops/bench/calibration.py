"""Says how fast this machine is, and how busy with other things: a fixed piece of work, again and again beside what is measured."""

from __future__ import annotations

import json
import socket
import time
from typing import NamedTuple

from ops.bench.report import ReportRow

# As much as a few milliseconds take: decoding and encoding, as servers of events do, and small messages through the kernel.
TEXTS, MESSAGES = 400, 400
_TEXT = json.dumps({"subject": "job.bench.said", "data": {"text": "x" * 80, "n": list(range(10))}})


class Calibration(NamedTuple):
    """One piece of work: milliseconds of CPU, and how many times as long it took by the clock."""

    cpu: float
    stretch: float


def calibrate() -> Calibration:
    """Does the piece of work once, in this process."""
    clock, cpu = time.perf_counter(), time.process_time()
    near, far = socket.socketpair()
    with near, far:
        for _ in range(TEXTS):
            json.dumps(json.loads(_TEXT))
        for _ in range(MESSAGES):
            near.send(b"x" * 100)
            far.recv(100)
    spent = time.process_time() - cpu
    return Calibration(spent * 1000, (time.perf_counter() - clock) / max(spent, 1e-9))


def row(part: str, found: list[Calibration]) -> ReportRow:
    """What the pieces of work say of the machine, as a row of a table."""
    stretch = sorted(each.stretch for each in found)[len(found) // 2]
    worst = max(each.stretch for each in found)
    note = f"{stretch:.2f} times as long by the clock, {worst:.1f} at worst: 1.0 is a machine that does nothing else"
    title = "calibration: a fixed piece of work"
    return ReportRow(part, title, "ms CPU", [each.cpu for each in found], note=note)
