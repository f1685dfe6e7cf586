"""A route is handled only for a request that may use it."""

from __future__ import annotations

from tests.edge.auth.conftest import SecuredFactory


async def test_open_routes_need_no_token_and_the_others_one_that_allows_them(secured: SecuredFactory) -> None:
    async with secured() as edge:
        reader = edge.as_("alice", read=["job.>"])

        open_ = await edge.http.get("/livez")
        without = await edge.http.get("/callbacks/sessions")
        own = await reader.http.get("/callbacks/sessions")
        operators = await reader.http.get("/callbacks/stats")

    assert (open_.status_code, own.status_code) == (200, 200)
    assert (without.status_code, without.json()["code"]) == (401, "token_required")
    assert without.headers["www-authenticate"].startswith("Bearer")
    assert (operators.status_code, operators.json()["code"]) == (403, "operator_only")
