"""`callboard token`: what it prints is what the edge believes, and the edge's commands take one along."""

from __future__ import annotations

import json

import pytest

from edge.auth.token import Verifier
from edge.settings import IdentitySettings
from router.nats.embedded import free_port
from tests.ops.command import callboard, running

SECRET = "0123456789abcdef0123456789abcdef"


def test_a_token_allows_what_was_asked_for_and_no_more() -> None:
    done = callboard(
        "token", "--subject", "alice", "--read", "agent.>", "--read", "job.*.state", "--publish", "job.x.>",
        "--command", "camera.main.*", "--operate", "--ttl", "2h", JWT_SECRET=SECRET,
    )  # fmt: skip
    principal = Verifier(IdentitySettings(secret=SECRET)).verify_now(done.stdout.strip())

    assert (done.returncode, done.stderr) == (0, "")
    assert principal.id == "- alice" and 7190 < principal.left < 7220
    assert set(principal.grants.read) == {"agent.>", "job.*.state", "alert._alice.>"}
    assert principal.grants.publish == ("job.x.>",)
    assert principal.grants.command == ("camera.main.*",) and principal.grants.operate


def test_a_token_without_a_wish_allows_its_own_alerts_and_has_the_configured_issuer_and_audience() -> None:
    done = callboard("token", "--json", JWT_SECRET=SECRET, JWT_ISSUER="https://dev", JWT_AUDIENCE="callboard,other")
    settings = IdentitySettings(secret=SECRET, issuer="https://dev", audience=("callboard",))
    principal = Verifier(settings).verify_now(json.loads(done.stdout)["token"])

    assert principal.id == "https://dev developer"
    # Nothing but the alerts that are for its subject.
    assert principal.grants.read == ("alert._developer.>",)
    assert principal.grants.publish == () and not principal.grants.operate
    assert json.loads(done.stdout)["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "secret", "said"),
    [
        ((), None, "CALLBOARD_JWT_SECRET"),
        ((), "short", "32 bytes"),
        (("--read", "a..b"), SECRET, "a..b"),
        (("--ttl", "soon"), SECRET, "soon"),
        (("--ttl", "0"), SECRET, "a second to a year"),
        (("--ttl", "400d"), SECRET, "a second to a year"),
        (("--subject", " "), SECRET, "--subject"),
        (("--subject", "a\nb"), SECRET, "--subject"),
    ],
)
def test_a_wish_that_cannot_be_is_told_in_a_line_and_never_with_the_secret(
    arguments: tuple[str, ...], secret: str | None, said: str
) -> None:
    done = callboard("token", *arguments, **({"JWT_SECRET": secret} if secret else {}))

    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not secret or secret not in done.stderr


def test_the_secret_is_starred_and_the_paths_of_keys_are_not() -> None:
    done = callboard("settings", JWT_SECRET=SECRET, JWT_KEYS="/etc/callboard/key.pem", TOKEN="a.b.c")

    lines = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.startswith("CALLBOARD_")}
    assert SECRET not in done.stdout and "a.b.c" not in done.stdout
    assert lines["CALLBOARD_JWT_SECRET"] == lines["CALLBOARD_TOKEN"] == "***"
    assert "/etc/callboard/key.pem" in lines["CALLBOARD_JWT_KEYS"]
    assert lines["CALLBOARD_TOKEN_IN_QUERY"] == "false"


def test_without_keys_only_loopback_is_listened_on(nats_server: str) -> None:
    done = callboard("edge", "--host", "0.0.0.0", "--port", "0", NATS_URL=nats_server)

    assert done.returncode == 1
    assert "without authentication" in done.stderr and "CALLBOARD_JWT_SECRET" in done.stderr


def test_a_key_that_cannot_be_read_is_a_mistake(nats_server: str) -> None:
    done = callboard("edge", "--port", "0", NATS_URL=nats_server, JWT_KEYS="/nowhere/key.pem")

    assert done.returncode == 2
    assert "CALLBOARD_JWT_KEYS: /nowhere/key.pem: No such file or directory" in done.stderr


async def test_with_a_key_any_address_is_listened_on_and_the_commands_take_a_token_along(own_nats: str) -> None:
    port = str(free_port())
    given = {"NATS_URL": own_nats, "JWT_SECRET": SECRET, "EDGE_PORT": port}
    token = callboard("token", "--operate", "--read", ">", JWT_SECRET=SECRET).stdout.strip()
    async with running("edge", "--host", "0.0.0.0", **given) as edge:
        await edge.says("edge is listening")
        url = f"http://127.0.0.1:{port}"
        refused = callboard("sessions", "--edge-url", url)
        listed = callboard("sessions", "--edge-url", url, "--json", TOKEN=token)
        flagged = callboard("sessions", "--edge-url", url, "--json", "--token", token)
        doctor = callboard("doctor", "--edge-url", url, "--json", TOKEN=token, NATS_URL=own_nats)
        stranger = callboard("doctor", "--edge-url", url, "--json", NATS_URL=own_nats)

    assert refused.returncode == 1 and "callboard token" in refused.stderr and "CALLBOARD_TOKEN" in refused.stderr
    assert listed.returncode == flagged.returncode == 0 and isinstance(json.loads(listed.stdout), list)
    found = {finding["check"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    assert found["sse"]["verdict"] == "ok"
    assert {f["check"]: f for f in json.loads(stranger.stdout)["findings"]}["sse"]["verdict"] == "warn"


def test_a_token_for_a_session_has_no_other_right() -> None:
    session = "sess_5f3a9c1e0b2d4a6f8c7e1d3b"
    done = callboard("token", "--session", session, JWT_SECRET=SECRET)
    mixed = callboard("token", "--session", session, "--read", ">", JWT_SECRET=SECRET)
    principal = Verifier(IdentitySettings(secret=SECRET)).verify_now(done.stdout.strip())

    assert principal.grants.sessions == (session,) and principal.confined
    assert principal.grants.read == () and not principal.grants.operate
    assert mixed.returncode != 0 and "no other right" in mixed.stderr
