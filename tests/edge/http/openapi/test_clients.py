"""Clients that are generated from the OpenAPI document, in TypeScript and in Python, call a running edge."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from edge.app import openapi
from tests.edge.conftest import RunningEdge
from tests.npm import node_with

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TYPESCRIPT = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@22")
COMPILE = ("--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "client.ts")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """The document as a file."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(openapi()))
    return path


async def _run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_client_generated_in_typescript_calls_the_edge(edge: RunningEdge, entity: str, described: Path) -> None:
    folder = described.parent
    (folder / "package.json").write_text('{"type": "module"}')
    node = await asyncio.to_thread(node_with, folder, *TYPESCRIPT)
    shutil.copy(HERE / "client.ts", folder)
    bin = folder / "node_modules" / ".bin"
    generate = (str(bin / "openapi-typescript"), str(described), "-o", "api.d.ts", "--default-non-nullable=false")
    await _run(folder, node, *generate)
    await _run(folder, node, str(bin / "tsc"), *COMPILE)

    said = json.loads(await _run(folder, node, "client.js", f"http://127.0.0.1:{edge.port}", f"job.{entity}.output"))

    assert said["read"] == [said["id"]]
    assert (said["refused"], said["field"]) == ("bad_parameter", "limit")


async def test_a_client_generated_in_python_calls_the_edge(
    edge: RunningEdge, entity: str, described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = described.parent
    generate = ("-m", "openapi_python_client", "generate", "--path", str(described), "--meta", "none")
    await _run(folder, sys.executable, *generate, "--output-path", str(folder / "generated_client"))
    monkeypatch.syspath_prepend(str(folder))
    from generated_client import Client, models  # type: ignore[import-not-found]
    from generated_client.api.default import (  # type: ignore[import-not-found]
        create_session,
        list_sessions,
        poll_session,
        publish_events,
    )

    subject = f"job.{entity}.output"
    body = models.NewSession.from_dict({"delivery_method": "polling", "subjects": [subject]})
    async with Client(base_url=f"http://127.0.0.1:{edge.port}") as client:
        session = await create_session.asyncio(client=client, body=body)
        published = await publish_events.asyncio(client=client, body=models.NewEvent.from_dict({"subject": subject}))
        page = await poll_session.asyncio(session.session_id, client=client, wait=20.0, limit=1)
        refused = await list_sessions.asyncio(client=client, limit=0)

    assert [event.id for event in page.events] == [published.events[0].id]
    assert (refused.code, refused.field) == ("bad_parameter", "limit")
