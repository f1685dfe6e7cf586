"""The packed JavaScript client in programs as bundlers build them: with a worker of their own, or without any."""

from __future__ import annotations

import asyncio
import mimetypes
import subprocess
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser

from edge.http.system import CLIENT
from tests.browser.conftest import Tab
from tests.browser.standin import Standin
from tests.npm import node_with
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = """
import { Board } from "callboard-client";
window.seen = [];
window.board = new Board(location.origin, { share: %r });
window.one = board.subscribe({ subjects: ["job.>"] }, (event) => seen.push(event.data.n));
"""
PAGE = '<!doctype html><title>app</title><body><script type="module" src="%s"></script>'
# What each of them is called by, where it puts what it builds, and who then holds the connection.
BUNDLERS = {
    "esbuild": (
        "esbuild@0.25.5",
        ("esbuild/bin/esbuild", "src/main.js", "--bundle", "--format=esm", "--outfile=dist/main.js"),
        "auto",
    ),
    "vite": ("vite@6", ("vite/bin/vite.js", "build"), "worker"),
    "webpack": (
        "webpack@5 webpack-cli@6",
        ("webpack-cli/bin/cli.js", "--mode=production", "--entry=./src/main.js", "--output-path=dist"),
        "worker",
    ),
}


def build(folder: Path, bundler: str) -> Path:
    """Builds the program, and returns the folder of what it is served as."""
    packages, (program, *arguments), share = BUNDLERS[bundler]
    (folder / "src").mkdir()
    (folder / "src" / "main.js").write_text(PROGRAM % share)
    (folder / "index.html").write_text(PAGE % "/src/main.js")
    npm = ["npm", "pack", "--silent", str(CLIENT)]
    packed = subprocess.run(npm, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=True)
    node = node_with(folder, *packages.split(), str(folder / packed.stdout.strip()))
    made = subprocess.run(
        [node, f"node_modules/{program}", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    if not (folder / "dist" / "index.html").exists():
        (folder / "dist" / "index.html").write_text(PAGE % "/main.js")
    return folder / "dist"


@pytest.mark.parametrize("bundler", BUNDLERS)
async def test_two_tabs_of_a_bundled_program_share_one_connection(
    browser: Browser, standin: Standin, tmp_path: Path, bundler: str
) -> None:
    built = await asyncio.to_thread(build, tmp_path, bundler)

    async def serve(request: web.Request) -> web.Response:
        path = built / request.path.lstrip("/")
        return web.Response(body=path.read_bytes(), content_type=mimetypes.guess_type(path.name)[0])

    standin.extra = {f"/{path.relative_to(built)}": serve for path in built.rglob("*") if path.is_file()}
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    tabs = [Tab(await context.new_page()) for _ in range(2)]
    for tab in tabs:
        await tab.page.goto(f"{standin.url}/index.html")
        await tab.until("() => window.one?.state.phase === 'live'")
    await standin.publish("job.a.output", {"n": 1})

    for tab in tabs:
        await tab.until("() => seen.length === 1")
    assert (standin.most_open, len(standin.opened)) == (1, 1)
    await context.close()
    await eventually(lambda: standin.open_now == 0)
