"""The Go sample of the README reads a session, and goes on at its cursor when its connection is cut."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from tests import parts
from tests.edge.conftest import RunningEdge
from tests.proxy import Proxy
from tests.waiting import in_time

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.slow
async def test_the_go_sample_reads_on_where_it_was_cut(edge: RunningEdge, entity: str, tmp_path: Path) -> None:
    go = parts.program(parts.GO)
    (sample,) = re.findall(r"^```go\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "main.go").write_text(sample)
    program = tmp_path / "reader"
    building = (go, "build", "-o", str(program), "main.go")
    env = {"GOCACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "GOFLAGS": "-mod=mod"}
    made = await asyncio.to_thread(
        subprocess.run, building, cwd=tmp_path, capture_output=True, text=True, env=env, check=False
    )
    assert made.returncode == 0, made.stderr
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with Proxy(edge.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/callbacks/sessions/{session}/sse"
        reader = await asyncio.create_subprocess_exec(str(program), url, stdout=subprocess.PIPE)
        try:
            assert reader.stdout is not None
            for n in range(6):
                await edge.publish({"subject": f"job.{entity}.output", "data": {"n": n}})
                line = await in_time(reader.stdout.readline())
                assert line.decode().strip() == f"output map[n:{n}]"
                if n % 2:
                    proxy.sever()
        finally:
            reader.kill()
            await reader.wait()
