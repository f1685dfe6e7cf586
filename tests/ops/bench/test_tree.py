"""The processes of a tree, and their memory."""

from __future__ import annotations

import os
import subprocess
import sys

from ops.bench.tree import _children, _proportional


def test_children_are_named_by_what_they_run() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "ops", "edge"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            # Until it runs, the kernel shows no command line of it, or ours.
            child.stdout.readline()
            assert _children(os.getpid())["edge"] == child.pid
        finally:
            child.communicate(b"\n")


def test_shared_pages_are_counted_once() -> None:
    assert _proportional(os.getpid()) > 1_000_000
