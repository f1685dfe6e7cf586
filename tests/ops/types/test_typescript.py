"""Tests that the TypeScript compiles, and refuses what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ops.types.typescript import typescript
from router.catalogue import all_types
from tests.npm import node_with
from tests.ops.types.test_shapes import ORDER

USE = """\
import { CallboardEvent, isEvent, KnownEvent, JobProgressData } from "./events.js";

export function show(event: CallboardEvent): string {
  if (isEvent(event, "job_progress")) return `${event.data.status ?? "?"} ${event.data.progress?.toFixed(2)}`;
  if (isEvent(event, "placed")) return event.data.lines.map((line) => line.sku ?? "").join();
  return isEvent(event, "tool_use") ? event.data.tool_name : event.event_type;
}
export function among(event: KnownEvent): number {
  return event.event_type === "live_metric_update" ? event.data.value : 0;
}
export const job: JobProgressData = { status: "completed", mine: [1] };
"""
WRONG = """\
import { JobProgressData } from "./events.js";
export const job: JobProgressData = { status: "odd" };
"""


@pytest.mark.slow
def test_a_strict_compiler_takes_the_types_and_refuses_a_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    node = node_with(tmp_path, "typescript@5.9.3")
    (tmp_path / "events.ts").write_text(typescript((*all_types(), ORDER)))
    (tmp_path / "use.ts").write_text(USE)
    (tmp_path / "wrong.ts").write_text(WRONG)
    tsc = (node, str(tmp_path / "node_modules" / ".bin" / "tsc"), "--strict", "--noEmit", "--target", "es2022")

    right, wrong = (
        subprocess.run(
            [*tsc, "--module", "nodenext", name],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )
        for name in ("use.ts", "wrong.ts")
    )  # fmt: skip

    assert (right.returncode, right.stdout) == (0, "")
    assert wrong.returncode != 0 and "wrong.ts(2" in wrong.stdout


def test_text_of_a_description_cannot_end_its_comment() -> None:
    from router.catalogue import EventType

    assert "/** Over */" not in typescript([EventType("odd", "Over */ now.")])
