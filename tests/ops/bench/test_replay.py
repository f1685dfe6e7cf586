"""The replay benchmark reads all events from the earliest, by pages and as a stream, and notices that some are missing."""

from __future__ import annotations

import pytest

from ops.bench import replay
from ops.bench.stand import BenchError, stand


async def test_all_events_are_read_by_pages_and_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE", 40)
    async with stand() as place:
        await place.producer.ask("burst", subject="job.bench-test.said", count=100, follow=False)
        session = await place.session("job.bench-test.said")

        assert await replay.polled(place, session, 100) > 0
        assert await replay._streamed(place, session, 100, "websocket") > 0
        with pytest.raises(BenchError, match="only 100 of 101 events"):
            await replay.polled(place, session, 101)
