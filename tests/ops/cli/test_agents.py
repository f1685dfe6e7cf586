"""`callboard agents` as a process: it serves what a file of the current folder has, and ends when it is told."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.agents import find
from ops.settings import Mistakes
from router.broker import Broker
from tests.ops.command import environment, running
from tests.router.sdk.agents.conftest import Served
from tests.waiting import PATIENCE

FILE = """
from callboard import agent

@agent({one!r})
def one(run, input: str):
    return input.upper()

@agent({two!r})
async def two(run, input): ...
"""


async def test_it_serves_the_agents_of_a_file_and_ends_when_it_is_told(
    nats_server: str, broker: Broker, entity: str, tmp_path: Path
) -> None:
    (tmp_path / f"{entity}.py").write_text(FILE.format(one=entity, two=f"{entity}-2"))
    async with running("agents", entity, "--nats-url", nats_server, cwd=tmp_path) as command:
        await command.says(f"serving {entity}, {entity}-2 at nats://")
        served = Served(broker, None, entity)  # type: ignore[arg-type]
        assert (await served.start(entity, {"message": ""}))[0] == "422"
        await served.begin(entity, {"message": "hi"})
        said = await served.ended(entity)
        command.signal(signal.SIGTERM)
        assert await command.ends() == 0

    assert said[-1].data["result"] == "HI"


def test_the_command_needs_no_more_than_the_light_installation(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(FILE.format(one="one", two="two"))
    server = (
        "starlette",
        "uvicorn",
        "av",
        "grpc",
        "numpy",
        "PIL",
        "prometheus_client",
        "cel",
        "rich",
        "jwt",
        "cryptography",
        "uvloop",
    )
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({server}));"
        "from ops.__main__ import main; sys.exit(main(['agents', 'served', '--nats-url', 'http://127.0.0.1:1']))"
    )

    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip

    # All was imported, and the address is what it refuses.
    assert "agents are served over NATS" in done.stderr, done.stderr


def test_what_it_cannot_serve_it_says_in_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entity: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{entity}.py").write_text("def plain(run, input): ...\nnumber = 7")
    (tmp_path / f"{entity}_broken.py").write_text("import nothing_of_this_name")

    with pytest.raises(Mistakes) as told:
        find([entity, f"{entity}:plain", f"{entity}:nothing", "no_such_module:a", ":a", ".a:b"])
    assert len(told.value.lines) == 6
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        find([f"{entity}_broken"])
