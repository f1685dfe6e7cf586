from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.actors.camera.scripted import Script


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.released.set()
