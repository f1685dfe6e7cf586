"""`GET /me`: who a token proves, and what it allows."""

from __future__ import annotations

from tests.edge.auth.conftest import SecuredEdge
from tests.edge.conftest import EdgeFactory


async def test_a_token_is_told_what_it_allows(edge: SecuredEdge) -> None:
    alice = edge.as_("alice", read=["camera.lobby.>"], publish=["job.>"], command=["octane.main.>"])

    said = (await alice.http.get("/me")).json()

    assert said.pop("expires_at") is not None
    assert said == {
        "id": "- alice", "read": ["alert._alice.>", "camera.lobby.>"], "publish": ["job.>"], "command": ["octane.main.>"], "operate": False,
    }  # fmt: skip


async def test_without_a_token_nobody_is_told_anything(edge: SecuredEdge) -> None:
    answer = await edge.http.get("/me")

    assert (answer.status_code, answer.json()["code"]) == (401, "token_required")


async def test_without_keys_everybody_may_do_everything(edge_factory: EdgeFactory) -> None:
    async with edge_factory() as edge:
        said = (await edge.http.get("/me")).json()

    assert said == {
        "id": None, "read": [">"], "publish": [">"], "command": [">"], "operate": True, "expires_at": None,
    }  # fmt: skip
