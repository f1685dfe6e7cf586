"""`callboard streams reshard`: the events go into other streams while everything runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.cli.reshard import _reshard
from ops.environment import RawValue
from ops.settings import Settings
from router.event import Event
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.nats.stream import stream_names
from router.topology import is_of_events
from tests.ops.command import callboard
from tests.router.resharding import broker_of
from tests.servers import running_server
from tests.waiting import PATIENCE, eventually


async def test_the_events_are_put_into_four_streams_and_said_to_be_so(own_nats: str) -> None:
    async with broker_of(own_nats) as broker:
        await broker.publish(Event.new("job.a.said", {"n": 1}))

        planned = await asyncio.to_thread(callboard, "streams", "reshard", "4", "--dry-run", NATS_URL=own_nats)
        assert planned.returncode == 0, planned.stderr
        assert "would make EVENTS_1_0 to EVENTS_1_3, of at most 256.0 MiB each" in planned.stdout
        assert "nothing was changed" in planned.stdout
        assert set(filter(is_of_events, await stream_names(broker.connection))) == {"EVENTS"}

        done = await asyncio.to_thread(callboard, "streams", "reshard", "4", NATS_URL=own_nats)
        again = await asyncio.to_thread(callboard, "streams", "reshard", "4", "--json", NATS_URL=own_nats)

        assert done.returncode == again.returncode == 0, done.stderr + again.stderr
        assert "making EVENTS_1_3" in done.stdout and "sealing EVENTS" in done.stdout
        assert json.loads(again.stdout)["changed"] is False
        await eventually(lambda: len(broker.layout.current.shards) == 4)
        # A job that applies the streams leaves the sealed one alone.
        applied = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=own_nats, DEDUP_WINDOW="0.2s")
        assert "EVENTS:" not in applied.stdout


# What the user `streams` of k8s/base/nats/accounts.conf may publish to, as far as a reshard needs it.
RIGHTS = (
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.UPDATE.*",
    "$KV.LAYOUT.events",
    "$JS.API.STREAM.MSG.GET.KV_LAYOUT",
    "$JS.API.DIRECT.GET.KV_LAYOUT.$KV.LAYOUT.events",
    "$JS.API.DIRECT.GET.KV_LEASES.$KV.LEASES.hook.member.*",
)
CONFIG = """
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}" }}
accounts {{ A {{
  jetstream {{ max_streams: {streams} }}
  users: [
    {{ user: all, password: all }}
    {{ user: narrow, password: narrow, permissions: {{
        publish: [ {rights} ], subscribe: [ "live.layout.>", "_INBOX.>" ] }} }}
  ]
}} }}
"""


@contextmanager
def serving(folder: Path, without: str = "", streams: int = -1) -> Iterator[Callable[..., str]]:
    """Runs a server whose user `narrow` lacks a right; gives what runs a command as a user of it, and says how it ended."""
    port = free_port()
    rights = ", ".join(f'"{right}"' for right in RIGHTS if right != without)
    with running_server(folder, CONFIG.format(port=port, folder=folder / "store", rights=rights, streams=streams)):

        def ran(user: str, *given: str, code: int = 0) -> str:
            where = {"NATS_URL": f"nats://127.0.0.1:{port}", "DATA_DIR": str(folder / "data")}
            done = callboard("streams", *given, **where, NATS_USER=user, NATS_PASSWORD=user)
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        yield ran


@pytest.mark.parametrize("right", [right for right in RIGHTS if "DIRECT" not in right])
def test_a_user_without_a_right_is_told_which_and_leaves_a_reshard_that_another_one_finishes(
    tmp_path: Path, right: str
) -> None:
    with serving(tmp_path, without=right) as ran:
        ran("all", "apply")

        said = ran("narrow", "reshard", "2", code=1)

        assert "does not allow this user to publish to" in said and "accounts.conf" in said
        assert "nothing was changed" in said or "events go to EVENTS as before" in said
        assert "sealing" not in said
        assert "new events go to EVENTS_1_0 to EVENTS_1_1" in ran("all", "reshard", "2")


def test_an_account_that_may_have_no_more_streams_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    with serving(tmp_path) as ran:
        count = ran("all", "apply").count(": made")
    # FRAMES is in memory, and gone with the first server: there is room for two.
    with serving(tmp_path, streams=count + 1) as ran:
        said = ran("all", "reshard", "4", code=1)

        assert "EVENTS_1_2 cannot be made" in said and "limits" in said and "nothing was changed" in said
        said = ran("all", "reshard", "2")
        assert "making EVENTS_1_0" in said and "new events go to" in said


async def test_with_patience_nats_is_waited_for_and_what_it_interrupts_is_tried_again(tmp_path: Path) -> None:
    server = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await server.start()
    settings = Settings.load(flags={"CALLBOARD_NATS_URL": RawValue(server.url, "flag", "--nats-url")}, adopt=())
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server.url)
    await server.stop()
    told: list[str] = []

    def tell(line: str) -> None:
        if line == "making EVENTS_1_1" and line not in told:
            assert server.process is not None
            server.process.kill()
        told.append(line)

    running = asyncio.ensure_future(_reshard(settings, 2, PATIENCE, False, tell))
    try:
        await server.start()
        await eventually(lambda: "making EVENTS_1_1" in told)
        assert server.process is not None
        await server.process.wait()
        await server.start()
        await running
    finally:
        running.cancel()
        await server.stop()

    assert any(line.endswith("trying again") for line in told)
    assert "new events go to EVENTS_1_0 to EVENTS_1_1" in told[-1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("reshard",), "into how many streams"),
        (("reshard", "0"), "1 to 64"),
        (("reshard", "65"), "1 to 64"),
        (("reshard", "three"), "three"),
        (("diff", "4"), "takes no number"),
        (("apply", "--dry-run"), "takes no number"),
    ],
)
def test_mistakes_are_told(own_nats: str, given: tuple[str, ...], said: str) -> None:
    done = callboard("streams", *given, NATS_URL=own_nats)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
