"""A process that has started keeps its memory in huge pages."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from ops.process import huge_pages
from ops.process.huge_pages import HUGE, use_huge_pages

MAPS = """\
00400000-00a00000 r-xp 00000000 08:01 1234       /usr/bin/python3.11
00bff000-01201000 rw-p 00000000 00:00 0          [heap]
7f0000100000-7f0000500000 rw-p 00000000 00:00 0
7f0000600000-7f0000700000 rw-p 00000000 00:00 0
7f0001000000-7f0001400000 ---p 00000000 00:00 0
7f0002000000-7f0002400000 rw-p 00000000 08:01 77 /var/lib/a file
7f0003000000-7f0003400000 rw-p 00000000 00:00 0  [stack]
"""

PROGRAM = """
from ops.process.huge_pages import use_huge_pages
kept = [str(n) * 3 for n in range(400_000)]
moved = use_huge_pages()
sizes = [int(line.split()[1]) for line in open("/proc/self/smaps") if line.startswith("AnonHugePages")]
print(moved, sum(sizes), kept[-1])
"""


def test_whole_huge_pages_of_memory_that_is_of_no_file_are_taken() -> None:
    found = list(huge_pages._ranges(MAPS))

    assert found == [(0xC00000, 0x1200000), (0x7F0000200000, 0x7F0000400000)]
    assert all(begin % HUGE == end % HUGE == 0 for begin, end in found)


@pytest.mark.skipif(
    not huge_pages.is_allowed() or not hasattr(mmap, "MADV_HUGEPAGE"), reason="the kernel gives no huge pages"
)
def test_the_memory_of_a_process_lies_in_them_afterwards() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout.split()
    moved, kilobytes = int(said[0]), int(said[1])
    if not moved:
        pytest.skip("the kernel has no MADV_COLLAPSE, or no free huge page")

    assert kilobytes * 1024 >= moved * HUGE
    assert said[2] == "399999" * 3


def test_where_an_operator_forbids_them_none_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed = tmp_path / "enabled"
    allowed.write_text("always madvise [never]\n")
    monkeypatch.setattr(huge_pages, "_ALLOWED", allowed)

    assert use_huge_pages() == 0
