"""The runbooks of ops/runbooks: what they say of sizes, settings, commands and files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.cli.commands import NAMES
from ops.settings import Settings
from router.topology import TopologySettings, streams
from tests.ops.command import ROOT

RUNBOOKS = sorted((ROOT / "ops" / "runbooks").glob("*.md"))
MIB = 1024 * 1024


@pytest.mark.parametrize("page", [*RUNBOOKS, ROOT / "k8s" / "README.md"], ids=lambda page: page.stem)
def test_links_lead_to_files_and_commands_are_there(page: Path) -> None:
    text = page.read_text()

    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for command in re.findall(r"^(?:callboard|`callboard) (\w+)", text, re.MULTILINE):
        assert command in NAMES, command
    for file in re.findall(r"`((?:tests|ops|k8s|router|edge)/[\w./-]+)`", text):
        assert (ROOT / file).exists(), file


def test_every_setting_that_a_runbook_names_is_one() -> None:
    known = {row.variable for row in Settings.load().rows()}
    named = {name for page in RUNBOOKS for name in re.findall(r"\bCALLBOARD_[A-Z_]+[A-Z]\b(?!_)", page.read_text())}

    assert named - known == set()


def test_the_table_of_sizes_is_that_of_the_streams() -> None:
    text = (ROOT / "ops" / "runbooks" / "sizing.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (file|memory) \| (\d+) MiB \|", text, re.MULTILINE)
    told = {name: (kept, int(size) * MIB) for name, kept, size in rows}
    (bucket,) = re.findall(r"^\| each bucket KV_… \| file \| (\d+) MiB", text, re.MULTILINE)

    for stream in streams(TopologySettings()):
        size = stream.config.get("max_bytes", -1)
        if stream.name.startswith("KV_") and stream.name not in told:
            assert size == int(bucket) * MIB, stream.name
        elif size > 0:
            assert told.pop(stream.name) == (stream.config["storage"], size)
    assert told == {}
