"""Where nginx and its nchan module are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.bench.nchan import found
from ops.bench.stand import Plan


def test_without_nginx_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    nginx = tmp_path / "nginx"
    nginx.write_text("")
    nginx.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert found(Plan(nchan_module=module)) == (str(nginx), module)
    assert found(Plan(nchan_module=tmp_path / "none")) == "left out: libnginx-mod-nchan is not installed"
