"""The pages of documentation are served under a policy that lets nothing in from elsewhere, with all that they load."""

from __future__ import annotations

import re

import pytest

from edge.http.docs import EXPLORER_POLICY
from edge.http.system import CONSOLE, POLICY, inline_source
from tests.edge.conftest import RunningEdge

SCALAR = CONSOLE / "vendor" / "scalar"


@pytest.mark.parametrize(("path", "policy"), [("/docs", EXPLORER_POLICY), ("/docs/events", POLICY)])
async def test_a_page_loads_what_this_server_has(edge: RunningEdge, path: str, policy: str) -> None:
    page = await edge.http.get(path)

    assert page.status_code == 200 and page.headers["content-security-policy"] == policy
    assets = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
    assert assets and not [each for each in assets if ":" in each]
    for asset in set(assets):
        assert (await edge.http.get(str(page.url.join(asset)))).status_code == 200, asset


def test_the_explorer_s_policy_differs_from_the_console_s_in_styles_and_sanitised_markup_alone() -> None:
    ours, console = (
        {name: value for name, _, value in (part.strip().partition(" ") for part in each.split(";"))}
        for each in (EXPLORER_POLICY, POLICY)
    )

    assert ours.pop("style-src") == "'self' 'unsafe-inline'"
    del console["style-src"], console["require-trusted-types-for"]
    assert ours == console
    assert ours["script-src"] == f"'self' {inline_source(CONSOLE / 'index.html')}" and ours["connect-src"] == "'self'"


async def test_the_library_is_compressed_for_who_takes_that(edge: RunningEdge) -> None:
    answer = await edge.http.get("/console/vendor/scalar/standalone.js", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 1_100_000
    assert answer.headers["cache-control"] == "no-cache"


def test_the_library_is_vendored_with_its_licences() -> None:
    assert "@scalar/api-reference 1.46.4" in (SCALAR / "standalone.js").read_text(encoding="utf-8")[:1000]
    assert "MIT License" in (SCALAR / "LICENSE").read_text()
    assert "highlight.js" in (SCALAR / "LICENSE-3RD-PARTY.txt").read_text()
