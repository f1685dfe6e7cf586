"""Clients that are generated from the OpenAPI document by default options type-check, and call a running edge."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.app import openapi
from router.catalogue import all_types
from tests.edge.conftest import RunningEdge
from tests.npm import node_with_generators

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
STRICT = ("--strict", "--target", "es2022", "--skipLibCheck")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """The document as a file."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(openapi()))
    return path


async def run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def expect(said: dict[str, Any]) -> None:
    """The answers of the ten operations, whichever client asked."""
    assert said["ready"] == "ok" and said["reads"] == [">"] and said["types"] == len(all_types())
    assert said["same"] and said["gone"] == 204
    assert said["read"] == said["past"] == [said["id"]]
    assert said["refused"] == "bad_parameter"


async def test_types_generated_in_typescript_serve_a_client_by_paths(
    edge: RunningEdge, entity: str, described: Path
) -> None:
    folder = described.parent
    node = node_with_generators(folder)
    bin = folder / "node_modules" / ".bin"
    shutil.copy(HERE / "client_by_paths.ts", folder)
    await run(folder, str(bin / "openapi-typescript"), "openapi.json", "-o", "api.d.ts")
    await run(folder, str(bin / "tsc"), *STRICT, "--module", "nodenext", "client_by_paths.ts")

    said = json.loads(
        await run(folder, node, "client_by_paths.js", f"http://127.0.0.1:{edge.port}", f"job.{entity}.output")
    )

    assert said["read"] == [said["id"]]
    assert (said["refused"], said["field"]) == ("bad_parameter", "limit")


async def test_functions_generated_in_typescript_are_called_by_name(
    edge: RunningEdge, entity: str, described: Path
) -> None:
    folder = described.parent
    node = node_with_generators(folder)
    bin = folder / "node_modules" / ".bin"
    shutil.copy(HERE / "client_by_names.ts", folder)
    generate = ("-i", "openapi.json", "-o", "client", "-c", "@hey-api/client-fetch", "--silent")
    await run(folder, str(bin / "openapi-ts"), *generate)
    # As bundlers take it: the generated modules name one another without a suffix.
    modules = ("--module", "esnext", "--moduleResolution", "bundler", "--outDir", "made")
    await run(folder, str(bin / "tsc"), *STRICT, *modules, "client_by_names.ts")
    (folder / "made" / "package.json").write_text('{"type": "module"}')
    found = ("--experimental-specifier-resolution=node", "--import", "./resolve.mjs")
    (folder / "resolve.mjs").write_text(RESOLVE)
    script = "made/client_by_names.js"

    said = json.loads(
        await run(folder, node, *found[1:], script, f"http://127.0.0.1:{edge.port}", f"job.{entity}.output")
    )

    expect(said)
    assert said["name"] == "typescript"


# What a bundler does: `./client` is `./client/index.js` or `./client.js`.
RESOLVE = """
import { register } from "node:module";
register("data:text/javascript," + encodeURIComponent(`
export async function resolve(name, context, next) {
  for (const each of name.startsWith(".") ? [name, name + ".js", name + "/index.js"] : [name])
    try { return await next(each, context); } catch (fault) { if (!/NOT_FOUND|UNSUPPORTED_DIR/.test(fault.code)) throw fault; }
  return next(name, context);
}`));
"""


async def test_functions_generated_in_python_type_check_and_are_called_by_name(
    edge: RunningEdge, entity: str, described: Path
) -> None:
    folder = described.parent
    generate = ("-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none")
    said = await run(folder, sys.executable, *generate, "--output-path", "generated_client")
    # The generator knows no SDP.
    left_out = re.findall(r"parsing (\S+ \S+) within \w+. Endpoint will not be generated", said)
    assert left_out == ["POST /cameras/{entity}/whep", "PATCH /cameras/{entity}/whep/{peer}"]
    shutil.copy(HERE / "client_by_names.py", folder)
    strict = ("--strict", "--no-warn-redundant-casts", "--cache-dir", ".mypy")
    await run(folder, sys.executable, "-m", "mypy", *strict, "client_by_names.py")

    called = await run(
        folder, sys.executable, "client_by_names.py", f"http://127.0.0.1:{edge.port}", f"job.{entity}.output"
    )

    answers = json.loads(called)
    expect(answers)
    assert answers["name"] == "python"
