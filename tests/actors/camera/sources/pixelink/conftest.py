"""A stand-in for the vendor's library, compiled once, under the vendor's real wrapper."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import parts

SERIAL = "776000123"


@pytest.fixture(scope="session")
def _library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if find_spec("pixelinkWrapper") is None:
        reason = "pixelinkWrapper is not installed; make .venv/.installed-dev installs it"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("pixelink")
    source = Path(__file__).with_name("libpxlapi.c")
    # The wrapper looks in $PIXELINK_SDK_LIB for a name with a version, and asks the linker for libPxLApi.so: it gets the one
    # of this name that is loaded already.
    library = folder / "libPxLApi.so.4.2.2.11"
    command = [parts.program(parts.GCC), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-Wl,-soname,libPxLApi.so"]
    subprocess.run([*command, "-o", library, source, "-lm"], check=True)
    os.environ["PIXELINK_SDK_LIB"] = str(folder)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture
def camera(_library: ctypes.CDLL) -> Iterator[ctypes.CDLL]:
    """The stand-in, as new; its functions fake_… make faults."""
    _library.fake_reset()
    yield _library
    _library.fake_reset()


@pytest.fixture
def no_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the wrapper is not installed."""
    monkeypatch.setitem(sys.modules, "pixelinkWrapper", None)
