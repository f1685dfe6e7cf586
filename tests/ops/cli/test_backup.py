"""Backup and restore as ops/runbooks/backup.md tells them: sessions and cursors go on, and what came later is told as a gap."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.nats.embedded import free_port
from tests.e2e.tree import RunningCallboard, running_tree
from tests.k8s.cast import open_house
from tests.ops.command import ROOT, callboard
from tests.servers import running_server
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def bare_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with JetStream and no stream."""
    folder, port = tmp_path_factory.mktemp("bare"), free_port()
    with running_server(folder, f'listen: 127.0.0.1:{port}\njetstream {{ store_dir: "{folder / "data"}" }}\n'):
        yield f"nats://127.0.0.1:{port}"


def test_a_folder_that_is_no_whole_backup_is_refused_and_one_that_is_not_empty_is_not_written_into(
    tmp_path: Path, bare_nats: str
) -> None:
    (tmp_path / "file").write_text("mine")
    saved = callboard("backup", str(tmp_path), NATS_URL=bare_nats)
    restored = callboard("restore", str(tmp_path), NATS_URL=bare_nats)

    assert saved.returncode == 1 and "is not empty" in saved.stderr
    assert restored.returncode == 1 and "no whole backup" in restored.stderr and "callboard.json" in restored.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where the system runs, and where it runs again."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    return one, other


def _publish(http: httpx.Client, *numbers: int) -> list[str]:
    events = [{"subject": "job.kept.output", "data": {"n": n}} for n in numbers]
    answer = http.post("/events", json=events)
    assert answer.is_success, answer.text
    return [event["cursor"] for event in answer.json()["events"]]


def _page(http: httpx.Client, session: str, cursor: str) -> dict[str, Any]:
    answer = http.get(f"/callbacks/sessions/{session}/events", params={"cursor": cursor, "limit": 100})
    assert answer.is_success, answer.text
    page: dict[str, Any] = answer.json()
    return page


def _numbers(page: dict[str, Any]) -> list[int]:
    return [event["data"]["n"] for event in page["events"]]


def _session(http: httpx.Client) -> str:
    answer = http.post("/callbacks/sessions", json={"subjects": ["job.kept.>"]})
    assert answer.is_success, answer.text
    session: str = answer.json()["session_id"]
    return session


def _goes_on(tree: RunningCallboard, session: str, cursors: list[str]) -> None:
    """The session is there, a cursor leads behind its event, and new events come behind the old ones."""
    with httpx.Client(base_url=tree.url, timeout=PATIENCE) as http:
        assert http.get(f"/callbacks/sessions/{session}").is_success
        assert _numbers(_page(http, session, cursors[2])) == list(range(3, len(cursors)))
        (new,) = _publish(http, 100)
        page = _page(http, session, cursors[-1])
        assert _numbers(page) == [100] and "gap" not in page
        assert page["events"][-1]["cursor"] == new


@pytest.mark.slow
def test_a_copy_of_a_stopped_data_folder_goes_on(folders: tuple[Path, Path]) -> None:
    one, other = folders
    with running_tree(one, "--only", "edge") as tree, httpx.Client(base_url=tree.url, timeout=PATIENCE) as http:
        session, cursors = _session(http), _publish(http, *range(5))

    shutil.copytree(one / "data", other / "data")
    with running_tree(other, "--only", "edge") as tree:
        _goes_on(tree, session, cursors)


@pytest.mark.slow
def test_a_backup_of_a_running_system_is_restored_into_a_new_folder_and_into_another_nats(
    tmp_path: Path, folders: tuple[Path, Path], bare_nats: str
) -> None:
    one, other = folders
    with running_tree(one, "--only", "edge") as tree, httpx.Client(base_url=tree.url, timeout=PATIENCE) as http:
        session, cursors = _session(http), _publish(http, *range(5))
        told = json.loads(tree.callboard("backup", str(tmp_path / "saved"), "--json"))
        # What is published behind the backup is not in it.
        later = _publish(http, 5, 6)
        # Where its streams are, nothing is restored.
        refused = callboard("restore", str(tmp_path / "saved"), NATS_URL=tree.nats_url)
        assert refused.returncode == 1 and "nothing is restored" in refused.stderr and "EVENTS" in refused.stderr
        running = callboard("restore", str(tmp_path / "saved"), DATA_DIR=str(tree.data_dir))
        assert running.returncode == 1 and "already runs" in running.stderr

    streams = {each["stream"]: each["messages"] for each in told["streams"]}
    assert streams["EVENTS"] >= 5 and streams["KV_SESSIONS"] >= 1 and "FRAMES" not in streams
    assert [each["stream"] for each in told["streams"]][-1] == "EVENTS"

    restored = callboard("restore", str(tmp_path / "saved"), DATA_DIR=str(other / "data"))
    assert restored.returncode == 0, restored.stderr
    assert f"restored EVENTS: {streams['EVENTS']} messages" in restored.stdout
    with running_tree(other, "--only", "edge") as tree:
        _goes_on(tree, session, cursors)
        with httpx.Client(base_url=tree.url, timeout=PATIENCE) as http:
            # A place that is another event's now is no place: the reader is told, and gets all that is kept.
            page = _page(http, session, later[-1])
            assert page["gap"]["reset"] is True, page
            assert _numbers(page) == [0, 1, 2, 3, 4, 100], page

    again = callboard("restore", str(tmp_path / "saved"), NATS_URL=bare_nats)
    assert again.returncode == 0, again.stderr
    assert callboard("streams", "wait", NATS_URL=bare_nats).returncode == 1, "FRAMES is made by who starts"
    assert "FRAMES: made" in callboard("streams", "apply", NATS_URL=bare_nats).stdout


@pytest.mark.slow
def test_the_user_that_the_runbook_shows_has_what_backup_and_restore_need(tmp_path: Path) -> None:
    runbook = (ROOT / "ops" / "runbooks" / "backup.md").read_text()
    (user,) = re.findall(r"^```conf\n(.*?)^```", runbook, re.DOTALL | re.MULTILINE)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    with open_house(one, user) as house:
        assert callboard("streams", "apply", **{**house.env("streams"), "APPLY_STREAMS": "true"}).returncode == 0
        saved = callboard("backup", str(tmp_path / "saved"), **house.env("backup"))
        assert saved.returncode == 0, saved.stderr
        assert house.server.violations == []
    with open_house(other, user) as house:
        restored = callboard("restore", str(tmp_path / "saved"), **house.env("backup"))
        assert restored.returncode == 0, restored.stderr
        assert house.server.violations == []
        diff = callboard("streams", "diff", "--json", **house.env("streams"))

    assert [each["stream"] for each in json.loads(diff.stdout)] == ["FRAMES"]
