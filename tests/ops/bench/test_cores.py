"""Which cores the measured process has, and which the rest."""

from __future__ import annotations

import os

from ops.bench.cores import Cores


def test_a_server_is_started_on_its_core_and_the_others_are_for_the_rest() -> None:
    before = os.sched_getaffinity(0)
    cores = Cores.here()

    with cores.for_server():
        assert os.sched_getaffinity(0) == cores.server and len(cores.server) == 1

    assert os.sched_getaffinity(0) == before
    assert cores.server | cores.others == before and (len(before) == 1 or not cores.server & cores.others)
