"""`callboard doctor`: its flags."""

from __future__ import annotations

from tests.ops.cli.commands.words import NOWHERE, settings


def test_the_edge_and_the_nats_to_check_can_be_named() -> None:
    made = settings(
        "doctor", "--edge-url", NOWHERE, "--nats-url", "nats://127.0.0.1:1", "--token", "t", sections=("edge",)
    )

    assert (made.command.edge_url, made.command.token, made.broker.url) == (NOWHERE, "t", "nats://127.0.0.1:1")
