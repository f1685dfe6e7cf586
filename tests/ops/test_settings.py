"""Settings: names made from fields, typed values, all mistakes at once, secrets starred."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ops.environment import RawValue
from ops.settings import Mistakes, SettingRow, Settings, is_secret
from router import catalogue


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("CALLBOARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CALLBOARD_DATA_DIR", str(tmp_path))


def test_a_variable_is_named_after_the_field_it_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_NATS_URL", "nats://elsewhere:4222")
    monkeypatch.setenv("CALLBOARD_EVENTS_MAX_AGE", "7d")
    monkeypatch.setenv("CALLBOARD_EVENTS_MAX_BYTES", "1GiB")
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "9000")
    monkeypatch.setenv("CALLBOARD_EDGE_SESSION_MAILBOX_EVENTS", "50")

    settings = Settings.load("edge")

    assert settings.broker.url == "nats://elsewhere:4222"
    assert settings.topology.events_max_age == 7 * 86400
    assert settings.topology.events_max_bytes == 1 << 30
    assert settings.section("edge").port == 9000
    assert settings.section("edge").session.mailbox_events == 50


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text(
        "# ours\n\nexport CALLBOARD_EDGE_PORT=1\nCALLBOARD_EDGE_HOST='::1'\nCALLBOARD_EDGE_WORKERS=3 # cores\n"
    )
    monkeypatch.setenv("CALLBOARD_CONFIG", str(file))
    monkeypatch.setenv("CALLBOARD_EDGE_WORKERS", "4")
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "2")

    settings = Settings.load("edge", flags={"CALLBOARD_EDGE_PORT": RawValue("3", "flag", "--port")})

    edge = settings.section("edge")
    assert (edge.port, edge.workers, edge.host) == (3, 4, "::1")


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("CALLBOARD_EDGE_WORKERS\n")
    monkeypatch.setenv("CALLBOARD_CONFIG", str(file))
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "70000")
    monkeypatch.setenv("CALLBOARD_NATS_CONNECT_TIMEOUT", "soon")
    monkeypatch.setenv("CALLBOARD_EDGE_PROT", "1")
    monkeypatch.setenv("CALLBOARD_LOG_LEVEL", "loud")

    with pytest.raises(Mistakes) as caught:
        Settings.load("edge")

    lines = caught.value.lines
    assert len(lines) == 5
    assert any("settings.env:1" in line for line in lines)
    assert any("CALLBOARD_EDGE_PORT=70000" in line and "65535" in line for line in lines)
    assert any("CALLBOARD_NATS_CONNECT_TIMEOUT=soon" in line for line in lines)
    assert any("CALLBOARD_EDGE_PROT" in line and "did you mean CALLBOARD_EDGE_PORT?" in line for line in lines)
    assert any("CALLBOARD_LOG_LEVEL=loud" in line and "warning" in line for line in lines)


NUMBERS = [row for row in Settings({}).rows() if type(row.value) in (int, float)]


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.variable)
def test_no_setting_takes_a_number_below_zero(row: SettingRow) -> None:
    below = RawValue("-1", "environment", row.variable)

    with pytest.raises(Mistakes, match=f"^{row.variable}=-1 "):
        Settings({row.variable: below}).section(row.section)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "")

    assert Settings.load("edge").section("edge").port == 8000


def test_secrets_are_starred_also_inside_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_NATS_PASSWORD", "hunter2")
    monkeypatch.setenv("CALLBOARD_NATS_URL", "nats://me:hunter3@elsewhere:4222")

    settings = Settings.load()
    rows = {row.variable: row for row in settings.rows(("broker", "command"))}

    assert settings.broker.password == "hunter2"
    assert rows["CALLBOARD_NATS_PASSWORD"].value == "***"
    assert "hunter" not in str(rows)
    assert rows["CALLBOARD_NATS_PASSWORD"].source == "environment"
    assert rows["CALLBOARD_NATS_TOKEN"].source == "default"


@pytest.mark.parametrize("name", ["password", "api_token", "client_secret", "creds", "signing_key", "private_pem"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


def test_settings_are_frozen() -> None:
    settings = Settings.load()

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.found = {}  # type: ignore[misc]


def test_how_webhooks_are_retried_is_set_beside_what_they_may_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_WEBHOOK_RETRY_SCHEDULE", "1s, 5s, 2m")
    monkeypatch.setenv("CALLBOARD_WEBHOOK_RETRY_STATUSES", "429, 5xx")
    monkeypatch.setenv("CALLBOARD_WEBHOOK_BREAKER_PAUSE", "2s")
    monkeypatch.setenv("CALLBOARD_WEBHOOK_AUTO_DISABLE_AFTER", "1d")
    monkeypatch.setenv("CALLBOARD_WEBHOOK_ALLOW_HTTP", "true")

    settings = Settings.load("edge", "guard")

    policy = settings.section("edge").webhooks
    assert (policy.retry_schedule, policy.retry_statuses) == ((1, 5, 120), ("429", "5xx"))
    assert (policy.breaker.pause, policy.auto_disable.after, policy.default_attempts) == (2, 86400, 3)
    assert settings.section("guard").allow_http
    assert {row.variable for row in settings.rows(["edge"])} >= {"CALLBOARD_WEBHOOK_BREAKER_MAX_PAUSE"}
    monkeypatch.setenv("CALLBOARD_WEBHOOK_BREAKER_PAUSE", "0")
    with pytest.raises(Mistakes, match="CALLBOARD_WEBHOOK_BREAKER_PAUSE=0: pause must be"):
        Settings.load("edge", "guard")


def test_what_kubernetes_puts_into_every_pod_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_EDGE_PORT", "tcp://10.0.0.7:8000")
    monkeypatch.setenv("CALLBOARD_EDGE_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("CALLBOARD_EDGE_SERVICE_PORT_HTTP", "8000")
    monkeypatch.setenv("CALLBOARD_EDGE_PORT_8000_TCP_ADDR", "10.0.0.7")

    assert Settings.load("edge").section("edge").port == 8000


def test_the_mistakes_in_a_file_of_event_types_are_told_with_those_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "types.yaml"
    file.write_text("types: [{name: Odd}, {name: said, delivery: twice}]")
    monkeypatch.setenv("CALLBOARD_EVENT_TYPES", str(file))
    monkeypatch.setenv("CALLBOARD_EDGE_WORKERS", "many")

    with pytest.raises(Mistakes) as caught:
        Settings.load("edge")

    told = "\n".join(caught.value.lines)
    assert len(caught.value.lines) == 3
    assert "CALLBOARD_EDGE_WORKERS=many" in told and "types[0].name" in told and "types[1] said.delivery" in told


def test_a_file_of_event_types_registers_them_for_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "types.yaml"
    file.write_text("types: [{name: said_so, delivery: latest}]")
    monkeypatch.setenv("CALLBOARD_EVENT_TYPES", str(file))
    try:
        Settings.load()
        Settings.load("edge")
        assert catalogue.find("said_so").delivery is catalogue.Delivery.LATEST
    finally:
        catalogue.unload()
