"""`callboard actor`: which actors there are, and what one loads."""

from __future__ import annotations

import subprocess
import sys

from tests.ops.command import ROOT, callboard, environment


def test_an_actor_that_is_none_is_told_with_those_there_are() -> None:
    done = callboard("actor", "fish")

    assert done.returncode == 2
    assert "octane, camera, agent, alerts" in done.stderr


def test_an_actor_does_not_load_what_only_others_need() -> None:
    code = (
        "import sys; from ops.settings import Settings; from actors.catalog import ACTORS; import ops.process.roles; "
        "Settings.load(); print(sorted({'grpc', 'numpy', 'av', 'starlette', 'PIL'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment(), check=True
    )

    assert done.stdout == "[]\n"
