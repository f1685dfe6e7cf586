"""The check of accessibility finds what it should: a page with a known fault, and one without."""

from __future__ import annotations

import pytest

from tests.axe import serious
from tests.browser.conftest import Tab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PAGE = """<!doctype html><html lang="en"><head><title>Doors</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"></head>
<body><main><h1>Doors</h1><p style="color: %s; background: #fff">Open</p><button>%s</button></main></body></html>"""


async def test_a_page_without_faults_has_nothing_serious(tab: Tab) -> None:
    await tab.page.set_content(PAGE % ("#000", "Close"))

    assert await serious(tab.page) == []


async def test_pale_text_and_a_nameless_button_are_named_with_their_place(tab: Tab) -> None:
    await tab.page.set_content(PAGE % ("#ccc", ""))

    faults = await serious(tab.page)

    assert [fault.split(":")[0] for fault in sorted(faults)] == [
        "critical button-name at button",
        "serious color-contrast at p",
    ]
