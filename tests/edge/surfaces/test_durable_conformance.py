"""The Durable Streams protocol by its own conformance suite and its own client: what is declared of the read path passes.

The suite creates the streams that it reads. Writing is not ours, so a proxy does it (`durable_writer`), which leaves status, headers,
`control` events and their timing to the edge.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.durable_writer import DurableWriter
from tests.npm import node_with

HERE = Path(__file__).parent
SUITE, CLIENT = "@durable-streams/server-conformance-tests@0.3.6", "@durable-streams/client@0.2.6"

# What passes: the groups of the suite that read.
DECLARED = (
    "Read Operations",
    "Long-Poll Operations",
    "Long-Poll Edge Cases",
    "HTTP Protocol",
    "Browser Security Headers",
    "HEAD Metadata should",
    "Offset Validation and Resumability",
    "Protocol Edge Cases",
    "Caching and ETag",
    "Chunking and Large Payloads",
    "Read-Your-Writes Consistency",
    "SSE Mode",
    "JSON Mode",
    "Byte-Exactness Property",
    "Operation Sequence Properties",
    "Immutability Properties",
    "Offset Validation Properties",
    "mixed readers and writers",
    "State Hash Verification",
    "HEAD with Stream Closure",
    r"Read Closed Streams \(Catch-up\)",
    "Long-poll with Stream Closure",
    "SSE with Stream Closure",
    "offset-now-on-closed-stream",
)
# So many tests; the version of the suite is fixed.
COUNT = 108
# Tests of these groups that are outside, and why. Of the other groups (Basic Stream Operations, Append, TTL and expiry, content types at
# the door, idempotent producers, closing, forks, subscriptions) all write.
OUTSIDE: Mapping[str, str] = {
    r"\bPUT\b|\bPOST\b|\bDELETE\b|Location header": "they ask what a write is answered",
    r"\bseq\b|sequence ordering": "Stream-Seq is a header of writes",
    "content-type mismatch|large payload|invalid JSON|empty JSON arrays": "they ask what a write is refused for",
    "base64|-SSE-Data-Encoding|text/plain payloads|CRLF injection|binary data": "our streams are JSON: such payloads are the proxy's",
    "Fork - ": "there are no forks",
}


async def _run(node: str, folder: Path, *command: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        node, *command, cwd=folder, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, out.decode()


@pytest.mark.slow
async def test_the_read_path_passes_what_is_declared_of_the_conformance_suite(
    edge_factory: EdgeFactory, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    node = await asyncio.to_thread(node_with, tmp_path, SUITE, CLIENT)
    shutil.copy(HERE / "conformance.mjs", tmp_path / "conformance.test.mjs")
    chosen = f"^(?!.*({'|'.join(OUTSIDE)})).*({'|'.join(DECLARED)})"
    vitest = ("node_modules/vitest/vitest.mjs", "run", "--reporter=json", "--outputFile=said.json", "-t", chosen)
    # The suite's own deadlines are those of an idle machine.
    patience = ("--testTimeout=60000", "--retry=3")

    async with edge_factory(allowed_origins=("*",)) as edge, DurableWriter(edge.url).serving() as address:
        _, out = await _run(node, tmp_path, *vitest, *patience, CONFORMANCE_TEST_URL=address)

    assert (tmp_path / "said.json").exists(), out
    said: dict[str, Any] = json.loads((tmp_path / "said.json").read_text())
    tests = [each for file in said["testResults"] for each in file["assertionResults"]]
    asked = {each["fullName"]: each for each in tests if each["status"] in ("passed", "failed")}
    assert {name: each["failureMessages"] for name, each in asked.items() if each["status"] != "passed"} == {}
    assert len(asked) == COUNT, sorted(asked)


@pytest.mark.slow
async def test_the_protocol_s_client_reads_a_run_and_goes_on_at_its_offset_to_the_end(
    edge: RunningEdge, entity: str, tmp_path: Path
) -> None:
    async def publish(kind: str, **data: object) -> None:
        await edge.publish({"subject": f"agent.{entity}.{kind}", "data": data})

    (tmp_path / "package.json").write_text('{"type": "module"}')
    node = await asyncio.to_thread(node_with, tmp_path, CLIENT)
    shutil.copy(HERE / "durable.mjs", tmp_path)
    await publish("workflow_start", name="chat")
    await publish("token", content="one")
    process = await asyncio.create_subprocess_exec(
        node, "durable.mjs", f"{edge.url}/streams/runs/{entity}",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    await publish("token", content="two")
    assert sorted([await process.stdout.readline() for _ in range(2)]) == [b"long-poll\n", b"sse\n"]
    await publish("token", content="three")
    await publish("completion", success=True)
    out, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
    rest = {"items": ["two", "three", "completion"], "closed": True}
    assert said["first"] == ["workflow_start", "one"]
    # Offsets behind the end may differ: a poll may have been led past events of others.
    assert said["sse"] == said["poll"] == {**rest, "over": [[], True]}
