"""Several workers of one edge: readiness, merged metrics, one port."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ops.process.datadir import CannotStart
from ops.process.http import get
from ops.process.ports import open_ports
from ops.process.workers import Workers, merged, open_internal
from router.nats.embedded import free_port
from tests.ops.command import running
from tests.waiting import PATIENCE, eventually, in_time


async def test_workers_that_did_not_prove_themselves_make_no_edge_ready() -> None:
    inside = open_internal()
    proof = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        asked.set()

    asked = asyncio.Event()
    workers = Workers([inside.getsockname()[1]], lambda _place: proof)
    async with await asyncio.start_server(answer, sock=inside):
        watching = asyncio.create_task(workers.watch())
        try:
            for _ in range(2):  # the second time the first answer has been judged
                asked.clear()
                await in_time(asked.wait())
            assert workers.checks() == {"a_worker": False}

            proof = True

            await eventually(lambda: workers.checks() == {"a_worker": True})
        finally:
            watching.cancel()


def test_expositions_of_several_workers_become_one() -> None:
    one = (
        "# HELP edge_spills Mailboxes.\n# TYPE edge_spills counter\nedge_spills_total 2.0\n"
        '# TYPE edge_seconds histogram\nedge_seconds_bucket{le="1.0"} 1.0 # {trace_id="a{b} c"} 0.5\n'
        'edge_seconds_bucket{le="+Inf"} 1.0\nedge_seconds_count 1.0\nedge_seconds_sum 0.5\n# EOF\n'
    )
    two = "# HELP edge_spills Mailboxes.\n# TYPE edge_spills counter\nedge_spills_total 3.0\n# EOF\n"

    text = merged([("1", one), ("2", two)])

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [(s.labels["worker"], s.value) for s in families["edge_spills"].samples] == [("1", 2.0), ("2", 3.0)]
    (bucket, *_) = families["edge_seconds"].samples
    assert bucket.labels == {"worker": "1", "le": "1.0"}
    assert bucket.exemplar and bucket.exemplar.labels == {"trace_id": "a{b} c"}
    assert text.count("# TYPE edge_spills") == 1


@pytest.mark.slow
async def test_connections_of_a_worker_that_hangs_are_accepted_by_another(tmp_path: Path, nats_server: str) -> None:
    port = free_port()
    async with running("edge", "--port", str(port), "--workers", "3", NATS_URL=nats_server) as command:
        task = Path(f"/proc/{command.process.pid}/task/{command.process.pid}")

        async def statuses(count: int) -> list[int]:
            answers = [await get("127.0.0.1", port, "/livez", PATIENCE) for _ in range(count)]
            return [answer.status for answer in answers]

        async def ready() -> bool:
            # Each worker answers some of so many.
            try:
                return await statuses(30) == [200] * 30
            except (OSError, TimeoutError):
                return False

        await eventually(ready)
        workers = (task / "children").read_text().split()
        assert [_listens_on(pid, port) for pid in workers] == [2, 2, 2]
        hanging = int(workers[1])
        os.kill(hanging, signal.SIGSTOP)
        try:
            assert await statuses(30) == [200] * 30
        finally:
            os.kill(hanging, signal.SIGCONT)
        # Nobody else gets the port, also nobody who would share it.
        with pytest.raises(CannotStart, match="in use"):
            open_ports("127.0.0.1", port, 2)


def _listens_on(pid: str, port: int) -> int:
    """How many sockets that listen on a port are open in a process."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    return sum(os.readlink(each) in listening for each in Path(f"/proc/{pid}/fd").iterdir())


async def test_workers_share_one_port(tmp_path: Path, nats_server: str) -> None:
    port = free_port()
    async with running("edge", "--port", str(port), "--workers", "2", NATS_URL=nats_server) as command:

        async def answers() -> bool:
            try:
                return (await get("127.0.0.1", port, "/livez")).status == 200
            except OSError:
                return False

        await eventually(answers)
        children = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().split()
        assert len(children) == 2

        command.signal(signal.SIGTERM)

        assert await command.ends() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
