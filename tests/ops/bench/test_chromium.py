"""Tests of ops/bench/chromium.py: a page of a real chromium is asked, measured and traced."""

from __future__ import annotations

import pytest

from ops.bench.chromium import chromium_page, found
from ops.bench.console import COUNTING, LONG, frame_work
from ops.bench.stand import BenchError
from tests import parts

# A frame of this page works for some milliseconds, and keeps nothing.
WORKING = """(() => {
  const next = () => {
    const end = performance.now() + 4;
    while (performance.now() < end);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})()"""


@pytest.mark.slow
@pytest.mark.browser
async def test_what_a_page_does_is_counted_by_its_main_thread_and_by_a_trace() -> None:
    parts.program(parts.CHROMIUM)
    binary = found()
    assert binary is not None
    async with chromium_page(binary) as page:
        assert await page.evaluate("Promise.resolve(6 * 7)") == 42
        before = await page.task_seconds()
        await page.evaluate(COUNTING % LONG)
        await page.evaluate(WORKING)
        await page.until("benchFrames.count > 20")

        works = frame_work(await page.trace(0.5))

        assert await page.task_seconds() > before
        assert await page.heap() > 0
        assert works and max(works) > 1
        with pytest.raises(BenchError, match="nothing is not defined"):
            await page.evaluate("nothing")
        with pytest.raises(BenchError, match=r"refuses Nothing\.at"):
            await page.ask("Nothing.at")
        with pytest.raises(BenchError, match="has not come to 1 > 2"):
            await page.until("1 > 2", 0)
