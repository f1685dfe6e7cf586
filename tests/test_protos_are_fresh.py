"""Compares the generated gRPC code with the .proto files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"

pytest.importorskip("grpc_tools", reason="grpcio-tools is a development dependency")


def generate(into: Path) -> None:
    sources = sorted(path.relative_to(ROOT).as_posix() for path in PROTOS.glob("*.proto"))
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *sources], cwd=ROOT, check=True)


def told_apart_by(text: str) -> str:
    """The generated text without the versions of the tools that wrote it."""
    text = re.sub(r"^# Protobuf Python Version: .*$", "", text, flags=re.M)
    text = re.sub(r"^GRPC_GENERATED_VERSION = .*$", "", text, flags=re.M)
    return re.sub(r"(ValidateProtobufRuntimeVersion\(\s*[\w.]+,)[\s\d,]+''", r"\1", text)


def test_the_generated_code_is_what_the_protos_say(tmp_path):
    generate(tmp_path)

    fresh = {path.name: told_apart_by(path.read_text()) for path in (tmp_path / "protos").iterdir()}
    kept = {path.name: told_apart_by(path.read_text()) for path in PROTOS.glob("*_pb2*") if path.is_file()}
    assert sorted(kept) == sorted(fresh), "run `make protos`"
    assert [name for name in fresh if fresh[name] != kept[name]] == [], "run `make protos`"
