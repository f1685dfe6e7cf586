"""A ticket names exactly one stream that its principal may read."""

from __future__ import annotations

import pytest

from tests.edge.auth.conftest import SecuredFactory


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "bad_body"),
        ({"camera": ""}, 422, "bad_body"),
        ({"camera": "main", "octane": "one"}, 422, "bad_body"),
        ({"camera": "main", "transport": "pigeon"}, 422, "bad_body"),
        ({"camera": 5}, 422, "bad_body"),
        ({"webcam": "main"}, 422, "unknown_field"),
        ({"octane": "one"}, 403, "not_granted"),
        ({"session_id": "sess_0123456789abcdef"}, 404, "session_not_found"),
    ],
    ids=str,
)
async def test_a_ticket_that_cannot_be_is_refused(
    secured: SecuredFactory, body: dict[str, object], status: int, code: str
) -> None:
    async with secured() as edge:
        alice = edge.as_("alice", read=["camera.>"])
        refused = await alice.http.post("/tickets", json=body)
        given = await alice.http.post("/tickets", json={"camera": "main", "session_id": None, "transport": "mjpeg"})

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert given.status_code == 201 and given.json()["ticket"] and given.json()["expires_in"] > 0
