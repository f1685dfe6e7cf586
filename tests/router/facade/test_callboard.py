"""What `import callboard` gives, and that it needs no more than the light installation brings."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import callboard

ROOT = Path(__file__).parents[3]
LISTING = """
import sys
before = set(sys.modules)
import callboard
for name in callboard.__all__:
    getattr(callboard, name)
import callboard.adapters.logging, callboard.adapters.context
print(*sorted({module.partition(".")[0] for module in set(sys.modules) - before}))
"""


def light() -> set[str]:
    """The distributions that an installation without extras names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[<>=\\[;]", each)[0].lower() for each in project["dependencies"]}


def test_all_that_it_lists_is_there_and_nothing_else_is_public() -> None:
    assert {name for name in callboard.__all__ if getattr(callboard, name) is None} == set()
    assert {"Run", "SyncRun", "Client", "SyncClient", "Callbacks"} <= set(callboard.__all__)


def test_importing_it_needs_none_of_what_runs_a_server() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LISTING], capture_output=True, text=True, timeout=60, check=True)

    owners = packages_distributions()
    needed = {owner.lower() for module in done.stdout.split() for owner in owners.get(module, ())}
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["server"]
    assert light() <= needed
    assert needed & {re.split(r"[<>=\\[;]", each)[0].lower() for each in server} == set()


def test_a_command_that_needs_more_says_what_to_install() -> None:
    program = "import sys; sys.modules['starlette'] = None; from ops.__main__ import main; sys.exit(main(['edge']))"

    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "starlette is not installed: pip install 'callboard[server]'" in done.stderr
