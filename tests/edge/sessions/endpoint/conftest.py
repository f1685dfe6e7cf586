"""Gives the tests of an endpoint's settings webhook sessions with their receiver."""

from __future__ import annotations

from tests.edge.webhooks.conftest import nats_url, receiver, stage

__all__ = ["nats_url", "receiver", "stage"]
