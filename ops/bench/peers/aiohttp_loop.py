"""A peer to measure against: what one writes first to post webhooks, some tasks with one aiohttp client and no more.

A program of its own and no part of the package. It takes one JSON order a line, `{"do": "post", "url", "count", "beside",
"body"}`, posts that often to as many paths as it has tasks, and answers with the CPU seconds and the time it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import uvloop

JSON = {"Content-Type": "application/json"}


async def post(client: aiohttp.ClientSession, url: str, count: int, beside: int, body: str) -> dict[str, float]:
    left = count
    payload = body.encode()

    async def one(number: int) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with client.post(f"{url}/{number}", data=payload, headers=JSON) as answer:
                await answer.read()
                assert answer.status == 204

    began, spent = time.monotonic(), time.process_time()
    await asyncio.gather(*map(one, range(beside)))
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - spent}


async def main() -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            order: dict[str, Any] = json.loads(line)
            assert order.pop("do") == "post"
            print(json.dumps(await post(client, **order)), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
