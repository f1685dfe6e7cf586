"""Says how a command ended: the data of its completion, from its exit code and the last line of its errors."""

from __future__ import annotations

import signal
from typing import Any

# So much of that line is told as why it failed.
WHY_CHARACTERS = 300


def ending(code: int, asked: bool, said: str) -> dict[str, Any]:
    """Says how the command ended, as the completion's data; `said` is the last line of its errors, which is mostly why."""
    if code == 0:
        return {"success": True, "exit_code": 0}
    more = {"status": "cancelled"} if asked else {}
    if code > 0:
        why = f": {said[:WHY_CHARACTERS]}" if said else ""
        return {"success": False, "exit_code": code, "error": f"exit code {code}{why}", **more}
    word = _signal_name(-code)
    return {"success": False, "exit_code": 128 - code, "signal": word, "error": f"killed by {word}", **more}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
