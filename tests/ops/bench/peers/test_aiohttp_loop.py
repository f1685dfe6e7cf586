"""The aiohttp peer of the webhook benchmark posts as often as it is asked to, to as many paths."""

from __future__ import annotations

import json
from collections import Counter

from aiohttp import web

from ops.bench.peers import aiohttp_loop
from tests.ops.bench.peers.peer import peer


async def test_so_many_posts_go_to_so_many_paths() -> None:
    posts: Counter[tuple[str, str]] = Counter()

    async def receive(request: web.Request) -> web.Response:
        posts[request.path, await request.text()] += 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{rest:.*}", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        order = {"do": "post", "url": url, "count": 10, "beside": 2, "body": '{"n":1}'}
        async with peer(aiohttp_loop) as running:
            said = json.loads(await running.ask(json.dumps(order)))
    finally:
        await runner.cleanup()

    assert posts.total() == 10 and set(posts) <= {("/0", '{"n":1}'), ("/1", '{"n":1}')}
    assert said["cpu"] > 0 and said["seconds"] > 0
