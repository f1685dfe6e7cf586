"""A render is told of to a webhook with a link to its last picture, which outlives the actor, Octane, and Callboard itself."""

from __future__ import annotations

import json
import os
import signal
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.e2e.tree import RunningCallboard, running_tree
from tests.edge.webhooks.stage import Receiver
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

# A small render of some seconds, after which the simulator rests for the length of the test.
RENDER = {
    "SIMULATOR_WIDTH": "96",
    "SIMULATOR_HEIGHT": "54",
    "SIMULATOR_PITCH": "96",
    "SIMULATOR_MAX_SAMPLES": "120",
    "SIMULATOR_SAMPLES_PER_SECOND": "12",
    "SIMULATOR_REST": "3600",
    "OCTANE_RENDER_SETTLE": "0.5",
    "OCTANE_RENDER_GRACE": "30",
}


async def test_a_webhook_says_that_the_render_is_done_with_a_picture_that_stays(tmp_path: Path) -> None:
    async with Receiver().serving() as receiver, httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        with running_tree(tmp_path, "--only", "edge,octane,agent,simulator", **RENDER) as tree:
            end = await _told_once_though_the_actor_was_killed(tree, http, receiver)
            link = end["picture"]
            first = await http.get(link)
            assert link.startswith(f"{tree.url}/runs/{end['run']}/picture?")
            _is_the_final_picture(first)
            listed = (await http.get(f"{tree.url}/runs?domain=job")).json()["runs"]
            assert [run["status"] for run in listed if run["run"] == end["run"]] == ["completed"]

        with running_tree(tmp_path, "--only", "edge", **RENDER) as tree:
            again = await http.get(tree.url + link.removeprefix(f"http://{urlsplit(link).netloc}"))
            snapshot = await http.get(f"{tree.url}/octane/main/snapshot")

    assert again.content == first.content and again.headers["last-modified"] == first.headers["last-modified"]
    assert snapshot.content == first.content and snapshot.headers["x-picture"] == "kept"


async def _told_once_though_the_actor_was_killed(
    tree: RunningCallboard, http: httpx.AsyncClient, receiver: Receiver
) -> dict[str, Any]:
    """The completion of the render that is on now, whose actor is killed in the middle."""
    body = {"delivery_method": "webhook", "webhook_url": receiver.url, "subjects": ["job.*.completion"]}
    assert (await http.post(f"{tree.url}/callbacks/sessions", json=body)).status_code == 201
    (run,) = await eventually(lambda: _runs(tree, http, "running"))

    os.kill(tree.children()["octane"], signal.SIGKILL)
    await eventually(lambda: _ends(receiver, run["run"]))

    everything = (await http.get(f"{tree.url}/events", params={"subjects": f"job.{run['run']}.*", "last": 500})).json()
    kinds = [event["event_type"] for event in everything["events"]]
    assert kinds.count("workflow_start") == kinds.count("completion") == 1
    (end,) = _ends(receiver, run["run"])
    assert end["status"] == "finished" and end["samples"] == 120
    return {**end, "run": run["run"]}


async def _runs(tree: RunningCallboard, http: httpx.AsyncClient, status: str) -> list[dict[str, Any]]:
    runs = (await http.get(f"{tree.url}/runs?domain=job&status={status}")).json()["runs"]
    return [run for run in runs if run["run"].startswith("octane-main-")]


def _ends(receiver: Receiver, run: str) -> list[dict[str, Any]]:
    """The data of the completions of a run that were posted."""
    bodies = [json.loads(post.body) for post in receiver.posts]
    return [body["data"] for body in bodies if body["subject"] == f"job.{run}.completion"]


def _is_the_final_picture(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(BytesIO(answer.content)).size == (96, 54)
    assert answer.headers["x-samples"] == answer.headers["x-max-samples"] == "120"
    assert parsedate_to_datetime(answer.headers["last-modified"]) and answer.headers["x-rendered-by"]
