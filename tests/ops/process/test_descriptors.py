"""The soft limit of file descriptors is raised at the start of every role, as far as the hard one goes."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ops.process.descriptors import MOST, attainable
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
ROLE = """
import argparse, resource, sys
from ops.cli.flags import load
from ops.process.roles import run_role

resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))

async def role(stop):
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

run_role(role, load(argparse.Namespace()))
"""


@pytest.mark.parametrize("hard", [64, 100, 1000])
def test_a_role_raises_its_soft_limit_to_the_hard_one(hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROLE, str(hard)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )

    assert done.stdout.split() == [str(hard)], done.stderr


def test_what_is_attainable_is_bounded() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert soft <= attainable() <= max(MOST, soft)
