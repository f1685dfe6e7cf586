"""Tests of ending.py: how a command ended, and why."""

from __future__ import annotations

import signal

from ops.cli.ending import WHY_CHARACTERS, ending


def test_a_failed_command_says_its_code_and_the_last_line_of_its_errors() -> None:
    assert ending(0, False, "a warning") == {"success": True, "exit_code": 0}
    assert ending(28, False, "")["error"] == "exit code 28"
    assert ending(28, False, "cp: no space left")["error"] == "exit code 28: cp: no space left"
    assert len(ending(1, False, "x" * 5_000)["error"]) == len("exit code 1: ") + WHY_CHARACTERS


def test_a_command_that_a_signal_ended_has_the_exit_code_of_a_shell() -> None:
    killed = ending(-signal.SIGKILL, False, "working")
    asked = ending(-signal.SIGTERM, True, "working")

    assert (killed["exit_code"], killed["signal"], killed["error"]) == (137, "SIGKILL", "killed by SIGKILL")
    assert "status" not in killed and asked["status"] == "cancelled"
