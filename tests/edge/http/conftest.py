"""Gives the tests of handlers secured edges, and webhook sessions with their receiver."""

from __future__ import annotations

from tests.edge.auth.conftest import clock, name, secured
from tests.edge.webhooks.conftest import nats_url, receiver, stage

__all__ = ["clock", "name", "nats_url", "receiver", "secured", "stage"]
