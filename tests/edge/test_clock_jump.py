"""An edge whose machine's clock jumps forward does not take sessions for idle."""

from __future__ import annotations

import time

import pytest

from router.clock import wall
from tests.edge.conftest import EdgeFactory
from tests.waiting import eventually


async def test_no_session_is_deleted_because_the_clock_jumped(
    edge_factory: EdgeFactory, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with edge_factory() as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"], ttl=3600)
        real, real_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: real() + 86400.0)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + 86400 * 10**9)

        # A session that is made now and may lie idle for a second goes: the expiry has looked at both.
        idle = await edge.session(subjects=[f"job.{entity}.>"], ttl=1)

        async def gone() -> bool:
            return (await edge.http.get(f"/callbacks/sessions/{idle}")).status_code == 404

        await eventually(gone, 60)
        assert (await edge.http.get(f"/callbacks/sessions/{session}")).status_code == 200
        assert abs(wall.now() - real()) < 30
