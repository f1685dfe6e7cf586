"""The processes of a benchmark, and what they cost."""

from __future__ import annotations

import os
import sys

import pytest

from ops.bench.stand import BenchError, CpuWatch, Partner, cpu_seconds, process, resident

# Repeats each line; `fault` is a fault, and `end` ends it without an answer.
ECHO = """
import json, sys
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "end":
        break
    print(json.dumps({"fault": "no"} if order["do"] == "fault" else order), flush=True)
"""


def test_cpu_time_is_that_of_the_process() -> None:
    watch = CpuWatch(us=os.getpid())
    sum(range(2_000_000))

    assert 0 < watch.read()["us"] <= cpu_seconds(os.getpid())
    assert resident(os.getpid()) > 1_000_000


async def test_a_partner_answers_each_order_and_its_faults_are_raised() -> None:
    async with process(sys.executable, "-c", ECHO, piped=True) as child:
        partner = Partner("echo", child)

        assert await partner.ask("begin", sessions=2) == {"do": "begin", "sessions": 2}
        with pytest.raises(BenchError, match="asked to fault: no"):
            await partner.ask("fault")
        with pytest.raises(BenchError, match="the echo ended while asked to end"):
            await partner.ask("end")
