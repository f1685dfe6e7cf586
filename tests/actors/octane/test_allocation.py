"""Freed buffers of pictures stay with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from actors.octane.allocation import keep_freed_buffers
if "keep" in sys.argv:
    assert keep_freed_buffers()
for _ in range(20):
    held = [bytearray(b"x") * (8 << 20) for _ in range(3)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(*arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_the_buffer_of_the_next_picture_takes_no_new_pages_of_the_kernel() -> None:
    # A picture is received, decoded and encoded: three buffers of 8 MiB, 6,144 pages of 4 KiB.
    assert page_faults("keep") < page_faults() / 4
