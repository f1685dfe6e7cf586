"""The memory benchmark leaves out what the limit of open files does not allow, and says so."""

from __future__ import annotations

import resource

from ops.bench.dialects import CONVERSATIONS
from ops.bench.memory import WARMING, run
from ops.bench.stand import Plan


async def test_sizes_beyond_the_limit_of_open_files_are_left_out() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = 1000 + WARMING
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        rows = [row async for row in run(Plan(full=True))]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert len(rows) == 4 + len(CONVERSATIONS) and all(row.figure is None for row in rows)
    assert f"only {low:,} files may be open" in rows[0].note
    assert "WebSocket connection, of 1,000" in rows[0].what and "SSE connection, of 5,000" in rows[3].what
