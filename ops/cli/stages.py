"""Reads which stage a command is in, from the lines of tools that say so plainly.

pip, apt, cargo, Docker's builds, and the groups of GitHub's workflow commands (`::group::Build`), which any script can print.
"""

from __future__ import annotations

import re

# 80 characters: a stage is a few words on a screen.
MAX_CHARACTERS = 80

_STAGES = re.compile(
    r"^(?:"
    r"::group::(?P<group>.+)"
    r"|#\d+ \[(?P<build>(?:[\w./-]+ )?\d+/\d+)\] (?P<instruction>[A-Z]+)\b.*"
    r"|Step (?P<step>\d+/\d+) : (?P<keyword>[A-Z]+)\b.*"
    r"|(?P<pip>Collecting|Installing collected packages|Building wheels? for collected packages|Building wheel for)[ :].*"
    r"|(?P<cargo>\s{3,}(?:Compiling|Checking|Downloading|Linking|Running|Testing)) \S+ v\d.*"
    r"|(?P<apt>Reading package lists|Building dependency tree|Preparing to unpack|Unpacking|Setting up|Processing triggers)\b.*"
    r")$"
)


def read_stage(line: str) -> str | None:
    """The stage that a line begins; None where it begins none."""
    found = _STAGES.match(line)
    if found is None:
        return None
    if found["build"] or found["step"]:
        stage = f"{found['build'] or found['step']} {found['instruction'] or found['keyword']}"
    else:
        stage = next(value for value in (found["group"], found["pip"], found["cargo"], found["apt"]) if value)
    return stage.strip().removesuffix(" for")[:MAX_CHARACTERS]
