"""`callboard settings` and `callboard version`."""

from __future__ import annotations

import json

from tests.ops.command import callboard


def test_settings_are_listed_with_value_and_source() -> None:
    done = callboard("settings", "--json", EDGE_PORT="9000", NATS_PASSWORD="hunter2")

    assert done.returncode == 0, done.stderr
    rows = {row["variable"]: row for row in json.loads(done.stdout)}
    assert rows["CALLBOARD_EDGE_PORT"]["value"] == 9000
    assert rows["CALLBOARD_EDGE_PORT"]["source"] == "environment"
    assert rows["CALLBOARD_NATS_PASSWORD"]["value"] == "***"
    assert {"CALLBOARD_CAMERA_FPS", "CALLBOARD_OCTANE_ADDRESS", "CALLBOARD_DATA_DIR"} <= rows.keys()


def test_versions_are_shown() -> None:
    done = callboard("version", "--json")

    assert json.loads(done.stdout).keys() == {"callboard", "python", "nats-server"}
