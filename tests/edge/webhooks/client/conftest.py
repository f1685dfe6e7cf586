"""Fixtures of the tests that send webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.edge.webhooks.client.forward import Forward
from tests.edge.webhooks.stage import Receiver


@pytest.fixture
async def forward(receiver: Receiver) -> AsyncIterator[Forward]:
    async with Forward(receiver.port).serving() as serving:
        yield serving
