"""How `callboard run` splits its own options from the command."""

from __future__ import annotations

import pytest

from ops.cli.commands.run import split
from tests.ops.command import callboard


@pytest.mark.parametrize(
    ("written", "options", "command"),
    [
        ("run -- echo --json", ["run"], ["echo", "--json"]),
        ("run --job a -- sh -c x", ["run", "--job", "a"], ["sh", "-c", "x"]),
        ("run --job a --json python x.py --job b", ["run", "--job", "a", "--json"], ["python", "x.py", "--job", "b"]),
        ("run -- grep -- x", ["run"], ["grep", "--", "x"]),
        ("run --job=a echo", ["run", "--job=a"], ["echo"]),
        ("run", ["run"], []),
    ],
)
def test_what_belongs_to_run_and_what_to_its_command(written: str, options: list[str], command: list[str]) -> None:
    assert split(written.split()) == (options, command)


def test_run_without_a_command_says_how() -> None:
    done = callboard("run", "--job", "a")

    assert done.returncode == 2
    assert "callboard run -- python train.py" in done.stderr
